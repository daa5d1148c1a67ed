import itertools
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invoicing.domain.changes import Known, RefusedError, judge
from invoicing.domain.totals import Amounts, faults, minor

FIRST = Known(1, b"a", "invoice", "issued", "EUR")


@given(st.permutations([1, 2, 3]), st.lists(st.integers(1, 3), max_size=4))
def test_any_order_and_repetition_ends_at_the_highest_version(order, repeats):
    known = None
    for version in itertools.chain(order, repeats):
        offered = Known(version, bytes([version]), "invoice", "issued", "EUR")
        if judge(known, offered) != "unchanged":
            known = offered
    assert known is not None
    assert known.source_version == 3


@pytest.mark.parametrize(
    ("known", "offered", "code"),
    [
        (FIRST, replace(FIRST, content=b"b"), "source-version-reused"),
        (replace(FIRST, cancelled=True), replace(FIRST, source_version=2), "invoice-cancelled"),
        (FIRST, replace(FIRST, source_version=2, kind="credit_note"), "invoice-fixed"),
        (FIRST, replace(FIRST, source_version=2, currency="USD"), "invoice-fixed"),
    ],
)
def test_contradictions_are_refused(known, offered, code):
    with pytest.raises(RefusedError) as error:
        judge(known, offered)
    assert error.value.code == code


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 12))
def test_sound_amounts_have_no_fault_and_a_cent_more_has(total, prepaid, count):
    total += prepaid + count
    payable = total - prepaid
    parts = [payable // count] * (count - 1)
    parts.append(payable - sum(parts))
    instalments = [(number, date(2026, 1, 1), part) for number, part in enumerate(parts, 1)]
    sound = Amounts(total=total, tax=0, prepaid=prepaid, payable=payable, instalments=instalments)
    assert faults(sound) == []
    assert {fault.code for fault in faults(replace(sound, payable=payable + 1))} == {"payable-differs", "instalments-differ"}


def test_minor_units_are_exact():
    assert minor(Decimal("12.340"), "EUR") == 1234
    assert minor(Decimal(-5), "JPY") == -5
    for amount, currency in (("0.001", "EUR"), ("1.5", "JPY"), ("1e19", "EUR"), ("1", "XXX")):
        with pytest.raises(ValueError, match=r"."):
            minor(Decimal(amount), currency)
