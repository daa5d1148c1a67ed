"""Money of one currency for a debt in another: worth, gains and losses, and that nothing is lost on the way and back."""

from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matching.domain.books import Account, Books, Item, Payment
from matching.domain.cascade import Proposal, Share, settle
from matching.domain.exchange import exchange, implied, rate_of, worth

TENANT, ENTITY = UUID(int=1), UUID(int=2)
DAY = date(2026, 3, 2)
RATES = st.decimals("0.0001", "10000", places=6)
AMOUNTS = st.integers(1, 10**12)


def scene(paid: int, owed: int, paid_in: str = "USD", owed_in: str = "EUR") -> tuple[Books, Payment, Item]:
    """A payment in dollars and an item in euro of one customer, with an account in each."""
    books = Books()
    for number, currency in ((1, owed_in), (2, paid_in)):
        books.accounts[TENANT, UUID(int=100 + number)] = Account(TENANT, UUID(int=100 + number), ENTITY, UUID(int=200), currency)
    item = Item(
        TENANT, UUID(int=1000), 0, 1, ENTITY, UUID(int=101), UUID(int=200), "invoice", owed_in, "erp", "F-1", DAY, DAY, [DAY], [owed], None,
        owed, 0, 0, 0, 0, 0, 0, 0, 0, 0, "closed", None, None,
    )  # fmt: skip
    payment = Payment(
        TENANT, UUID(int=5000), 1, UUID(int=3), ENTITY, paid_in, paid, 0, paid, 0, 0, DAY, DAY, "booked", "camt.053", "received", None,
        None, None, None, None, None, None, 0,
    )  # fmt: skip
    books.open(item)
    books.entries.clear()
    books.payments[TENANT, payment.payment_id] = payment
    books.attribute(payment, books.accounts[TENANT, UUID(int=102)])
    return books, payment, item


def balances(books: Books) -> Counter:
    """What each ledger account holds in each currency: debits less credits."""
    held: Counter = Counter()
    for entry in books.entries:
        held[entry.currency, entry.debit] += entry.amount_minor
        held[entry.currency, entry.credit] -= entry.amount_minor
    return held


@pytest.mark.parametrize(
    ("amount", "currency", "rate", "other", "value"),
    [
        (108_000, "USD", "0.9245", "EUR", 99_846),
        (1, "EUR", "0.5", "USD", 0),
        (3, "EUR", "0.5", "USD", 2),  # half to even
        (100, "EUR", "161.5", "JPY", 162),  # 1.00 is 161.5 yen: half to even
        (10_000, "JPY", "0.00619", "EUR", 6_190),
        (1_000, "EUR", "0.3351", "KWD", 3_351),
    ],
)
def test_what_an_amount_is_worth_to_the_minor_unit(amount, currency, rate, other, value):
    assert worth(amount, currency, rate_of(rate), other) == value


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "1,5", "1e3", "", ".5", "1.12345678901", "1234567890", "NaN", "\u0661"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="rate"):
        rate_of(text)


def test_an_amount_beyond_all_amounts_is_refused():
    with pytest.raises(ValueError, match="too large"):
        worth(2 * 10**17, "EUR", Decimal(10), "USD")


def test_a_loss_is_ours_and_the_customer_owes_nothing_more():
    books, payment, item = scene(108_000, 100_000)
    books.allocate_across(payment, item, "hand", 108_000, exchange(108_000, "USD", 100_000, "EUR", Decimal("0.9245"), "ecb"))
    assert (item.open_minor, item.cash_minor, item.status, payment.unapplied_minor) == (0, 100_000, "paid", 0)
    assert balances(books) == {
        ("USD", "unapplied"): 108_000,
        ("USD", "exchange"): -108_000,
        ("EUR", "receivables"): -100_000,
        ("EUR", "exchange"): 99_846,
        ("EUR", "fx_loss"): 154,
    }


@given(AMOUNTS, AMOUNTS, RATES, st.data())
def test_each_currency_balances_nothing_is_lost_and_undoing_it_is_the_identity(paid, owed, rate, data):
    books, payment, item = scene(paid, owed)
    before = (replace(payment), replace(item), {key: replace(one) for key, one in books.accounts.items()})
    amount, settled = data.draw(st.integers(1, paid)), data.draw(st.integers(1, owed))
    found = exchange(amount, "USD", settled, "EUR", rate, "ecb")
    books.allocate_across(payment, item, "hand", amount, found)
    assert payment.amount_minor == payment.allocated_minor + payment.unapplied_minor
    assert item.original_minor == item.open_minor + item.cash_minor
    assert books.accounts[TENANT, UUID(int=101)].open_minor == item.open_minor
    assert books.accounts[TENANT, UUID(int=102)].unapplied_minor == payment.unapplied_minor
    held = balances(books)
    for currency in ("USD", "EUR"):
        assert sum(value for (of, _), value in held.items() if of == currency) == 0
    assert held["EUR", "exchange"] == worth(amount, "USD", rate, "EUR")
    assert all(entry.amount_minor > 0 for entry in books.entries)
    assert books.unallocate(payment, item) == amount
    assert not any(balances(books).values())
    item.value_date = before[1].value_date  # restored from what is left on it, by the storage
    assert (payment, item, books.accounts) == before


@given(AMOUNTS, AMOUNTS)
def test_the_rate_of_a_bank_gives_its_own_amount_back_where_it_has_the_digits_for_it(credited, told):
    assume(10**-4 < told / credited < 10**4)
    value = worth(credited, "USD", implied(credited, "USD", told, "EUR"), "EUR")
    assert abs(value - told) <= credited // 10**10 + 1


@pytest.mark.parametrize("fault", ["currency", "entity_id", "tenant_id", "kind", "amount", "settled", "twice"])
def test_what_may_never_be_exchanged(fault):
    books, payment, item = scene(1_000, 1_000)
    amount, settled = 500, 500
    if fault == "currency":
        payment.currency = "EUR"
    elif fault in {"entity_id", "tenant_id"}:
        setattr(payment, fault, UUID(int=99))
    elif fault == "kind":
        item.kind = "credit_note"
    elif fault == "amount":
        amount = 1_001
    elif fault == "settled":
        settled = 1_001
    else:
        books.allocate_across(payment, item, "hand", 1, exchange(1, "USD", 1, "EUR", Decimal(1), "ecb"))
    with pytest.raises(ValueError, match=r"exchanged|less"):
        books.allocate_across(payment, item, "hand", amount, exchange(amount, "USD", settled, "EUR", Decimal(1), "ecb"))


def test_what_is_exchanged_for_an_item_already_is_left_to_a_person():
    """A person exchanged a part of the payment; the engine then reads all the rest of both as one."""
    books, payment, item = scene(1_000, 1_000)
    books.allocate_across(payment, item, "hand", 400, exchange(400, "USD", 370, "EUR", Decimal("0.925"), "ecb"))
    share = Share(item.item_id, item.account_id, item.version, item.open_minor, item.open_minor)
    before = balances(books)
    assert settle(books, payment, Proposal("amount:exchanged", shares=[share], unapplied_minor=600, rate_source="bank")) == "ambiguous"
    assert (payment.unapplied_minor, item.open_minor, balances(books)) == (600, 630, before)


def test_what_an_item_was_forgiven_for_another_reason_already_is_left_to_a_person():
    books, payment, item = scene(1_000, 1_000, "EUR", "EUR")
    books.allocate(payment, item, "hand", amount=400, diff=10, reason="discount")
    share = Share(item.item_id, item.account_id, item.version, 590, 590, 5, "bank_charges")
    assert settle(books, payment, Proposal("amount", shares=[share], unapplied_minor=600)) == "ambiguous"
    assert (payment.unapplied_minor, item.open_minor, payment.allocations[item.item_id].diff_minor) == (600, 590, 10)
    share.reason = "discount"
    settle(books, payment, Proposal("amount", shares=[share], unapplied_minor=600))
    assert (payment.unapplied_minor, item.open_minor, payment.allocations[item.item_id].diff_minor) == (15, 0, 15)
