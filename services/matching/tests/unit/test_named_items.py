"""Document numbers in what a payer wrote: found, and not found, among a customer's items."""

from dataclasses import replace
from datetime import date

import pytest
from enginecases import DAY, item
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.engine.habits import Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.records import Clues, Customer, OpenItem
from matching.domain.engine.search import search
from matching.domain.engine.text import DIGITS, Span, Text, forms, name_items, read, whole_forms

NUMBERS = st.text(alphabet="ABCDEFGHO0123456789-/. ", min_size=1, max_size=20) | st.from_regex(
    r"[A-Z]{0,3}/?0{0,3}[1-9]{1,7}/[0-9]{2}/(20)?24"
)


@pytest.mark.parametrize(
    "written",
    ["FA2024-00103", "fa2024 00103", "FA 2024 / 00103", "FA2024-OO1O3", "2024-00103", "Facture 00103 merci", "FA2024.00103", "/INV/00103"],
)
def test_a_number_is_found_however_it_is_written(written):
    named = name_items(read([written]), [item("FA2024-00103", 100), item("FA2024-00203", 100)])
    assert [hit.item.number for hit in named.hits] == ["FA2024-00103"]


@pytest.mark.parametrize("written", ["FA2024-001031", "INV-10", "1001030", "A00103B7"])
def test_a_part_of_a_word_is_no_number(written):
    assert not [hit for hit in name_items(read([written]), [item("FA2024-00103", 100), item("INV-1", 5)]).hits if hit.strength > 1]


def test_a_number_that_the_bank_cut_in_two_lines():
    named = name_items(read(["KDNR 106349 SALDO FATTURA F", "A2024-00347"]), [item("FA2024-00347", 100)])
    assert [hit.item.number for hit in named.hits] == ["FA2024-00347"]


def test_a_list_of_endings_is_read_in_order_and_what_follows_tel_is_no_number():
    items = [item(f"FA2024-00{number}", 100) for number in ("001", "003", "007", "512")]
    for text in ("FA2024-00001, 003 et 007 TEL 512", "FA2024-00001, 003 ET 007 Tél. 512", "Fà2024-00001, 003, 007 ügyfélszám 512"):
        named = name_items(read([text]), items)
        assert [hit.item.number for hit in named.hits if not hit.span.other] == ["FA2024-00001", "FA2024-00003", "FA2024-00007"]


@pytest.mark.parametrize("text", ["PAIEMENT 2024/03 MERCI", "PAIEMENT 202403 MERCI", "03-2024"])
def test_a_month_is_no_number_that_begins_with_it(text):
    assert name_items(read([text]), [item("2024/03/17", 100), item("2024/04/18", 100)]).hits == []


@pytest.mark.parametrize(
    ("text", "ranged"),
    [
        ("FA2024-00002 bis FA2024-00005", "2345"),
        ("FA2024-00002 - FA2024-00005", "2345"),
        ("FA2024-00002 - FA2024-00005 - FA2024-00006", ""),  # a list
        ("FA2024-00002 VOM 1.2. FA2024-00005", ""),
    ],
)
def test_a_range_names_what_lies_between_its_ends(text, ranged):
    named = name_items(read([text]), [item(f"FA2024-0000{number}", 100) for number in range(1, 7)])
    assert "".join(one.number[-1] for one in named.ranged) == ranged


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("FV/4045/07/2024", "FV/4045/07/2024"), ("faktura 4045/07", "FV/4045/07/2024"), ("fv 4045", "FV/4045/07/2024"),
        ("RG 00123", "00123/24"), ("2024/001234", "2024/001234"), ("FAKTURANR4045/07/2024", "FV/4045/07/2024"),
        ("rechnung24041686danke", "24041686"), ("Zahlung INVO000123", "INV0000123"),
    ],
)  # fmt: skip
def test_numbers_of_other_forms_and_numbers_that_stick_to_words(written, number):
    others = [replace(item(one, 100), issue_date=date(2024, 7, 5)) for one in ("FV/4046/07/2024", "00124/24", "2024/001235", "24041687")]
    mine = replace(item(number, 100), issue_date=date(2024, 7, 5))
    assert [(hit.item.number, hit.tied) for hit in name_items(read([written]), [mine, *others]).hits] == [(number, 0)]


def test_the_year_that_a_number_ends_in_names_nothing():
    known = replace(item("FV/4045/07/2024", 100), issue_date=date(2024, 7, 5))
    assert not name_items(read(["REGLEMENT 07/2024"]), [known]).hits
    assert name_items(read(["FAKT 2021"]), [replace(known, number="F2404-2021")]).hits


@pytest.mark.parametrize(
    ("text", "loose"), [("SZAMLA 24", 1), ("REGLEMENT 04/2024", 0), ("DATE 03/05/2024", 0), ("MERCI", 0), ("RUN 24", 0)]
)
def test_a_short_number_that_stands_alone_may_be_a_part_of_one(text, loose):
    """An end-to-end id beside it is no other reading of the text."""
    named = name_items(read([text], ["E2E"]), [item("02163/25", 100)])
    assert named.loose == loose


def test_a_number_that_every_customer_counts_for_itself_says_nothing_of_who_pays():
    index = Index([Customer(f"C{at}", f"{at}", f"Kunde {at}", "EUR", [f"DE{at}"]) for at in range(1, 30)])
    for at in range(1, 30):
        index.add_item(OpenItem(f"I{at}", f"C{at}", "2026-012", "EUR", DAY, DAY, 100_00 + at, 100_00 + at))
    answer = search(Clues("P1", DAY, 100_07, "EUR", debtor_iban="DE7", remittance=["2026-012"]), index, Learnt())
    assert [party.customer_id for party in answer.parties] == ["C7"]
    assert [one.rule for one in answer.hypotheses] == ["document_number:exact"]


def test_a_number_with_one_letter_wrong_is_near():
    known = item("FA2024-00103", 100)
    for written in ("FA2024-00108", "FA2024-0103", "FA2024-001003", "FA2024-00130"):
        assert [hit.item.number for hit in name_items(read([written]), [known]).hits] == ["FA2024-00103"]
    assert not name_items(read(["FA2024-00177"]), [known]).hits


@given(NUMBERS)
def test_forms_of_any_number_are_whole_and_folded(number):
    assert all(form == form.upper() and len(form) <= len(number) for form, _ in forms(number))


@given(NUMBERS, st.data())
def test_a_number_that_a_text_names_in_any_of_its_forms_is_found_among_others_and_without_its_forms_being_made(number, data):
    of_whole = {form for form, strength in forms(number) if strength >= DIGITS}
    assert set(whole_forms(number)) == of_whole
    form, strength = data.draw(st.sampled_from(forms(number)))
    text = Text([form], {form: [Span(0, 1, other=False)]}, [(0, 1)])
    hits = name_items(text, [item(number, 100), item("ZZ-Z", 100)]).hits
    assert {hit.item.number for hit in hits if hit.strength == strength} == {number} or form.endswith(str(DAY.year)) or not form


def test_a_text_of_any_length_is_read_in_bounded_steps():
    text = read([" ".join("123" for _ in range(100_000))])
    assert len(text.words) < 6_000
    assert max(len(places) for places in text.runs.values()) <= 20
    assert len(name_items(text, [item(f"{number}-123", 100) for number in range(1_000)]).hits) <= 20
    assert read(["1" * 100_000]).runs == {}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("BV 2025-0178 6. AZ", ["25-0178-6"]),
        ("BV 2025-0178 6. AZ BV 2025-0178 7. AZ", ["25-0178-6", "25-0178-7"]),
        ("2025-0178 07 LESS 5PCT", ["25-0178-7"]),
        ("BV 2025-0178 16. AZ", ["25-0178-16"]),
        ("BV 2025-0178 7.6.2025", ["25-0178-6"]),  # a day: any of the order's, the first one due
        ("BV 2025-0178 5. AZ", ["25-0178-6"]),
        ("BV 2025-0178", ["25-0178-6"]),
        ("PO 88001 2", ["FA2024-00001"]),  # its number says nothing of the order
    ],
)
def test_an_orders_number_and_a_counter_name_one_of_the_orders_items(text, named):
    """The numbers are the order's with a counter behind."""
    items = [item(f"25-0178-{n}", 4_000_00 + n, n, order_numbers=("20250178",)) for n in (6, 7, 16)]
    items += [item(f"FA2024-0000{n}", 10_00 + n, n, order_numbers=("88001",)) for n in (1, 2)]
    assert [hit.item.number for hit in name_items(read([text]), items).hits] == named
