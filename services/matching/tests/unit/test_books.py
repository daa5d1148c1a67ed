"""Money is conserved whatever is done, in whatever order."""

import contextlib
from datetime import date
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from matching.domain.books import DIFFERENCES, Account, Books, Item, Payment, instalments_open

TENANT, ENTITY = UUID(int=1), UUID(int=2)
DAY = date(2026, 3, 2)
AMOUNTS = st.integers(1, 10**12)


def account(number: int) -> Account:
    return Account(TENANT, UUID(int=100 + number), ENTITY, UUID(int=200 + number), "EUR")


def item(number: int, amount: int, holder: Account, kind: str = "invoice") -> Item:
    return Item(
        TENANT, UUID(int=1000 + number), 0, 1, ENTITY, holder.account_id, holder.customer_id, kind, "EUR", "erp", f"F-{number}", DAY, DAY,
        [DAY], [amount], None, amount, 0, 0, 0, 0, 0, 0, 0, 0, 0, "closed", None, None,
    )  # fmt: skip


def payment(number: int, amount: int) -> Payment:
    return Payment(
        TENANT, UUID(int=5000 + number), 1, UUID(int=3), ENTITY, "EUR", amount, 0, amount, 0, 0, DAY, DAY, "booked", "camt.053", "received",
        None, None, None, None, None, None, None, 0,
    )  # fmt: skip


def forgiven(one: Item) -> int:
    return one.discount_minor + one.charges_minor + one.withheld_minor


class SubLedger(RuleBasedStateMachine):
    """Random histories of invoices, credit notes, payments, unmatching, returns, changes and cancellations."""

    @initialize()
    def start(self):
        self.books = Books()
        for number in range(2):
            one = account(number)
            self.books.accounts[TENANT, one.account_id] = one
        self.received = 0

    def _holder(self, data):
        return data.draw(st.sampled_from(list(self.books.accounts.values())))

    def _one(self, data, kind=None):
        found = [i for i in self.books.items.values() if kind is None or (i.kind == "credit_note") is kind]
        return data.draw(st.sampled_from(found)) if found else None

    def _payment(self, data):
        return data.draw(st.sampled_from(list(self.books.payments.values()))) if self.books.payments else None

    @rule(data=st.data(), amount=AMOUNTS, credit=st.booleans())
    def invoice(self, data, amount, credit):
        self.books.open(item(len(self.books.items), amount, self._holder(data), "credit_note" if credit else "invoice"))

    @rule(amount=AMOUNTS)
    def pay(self, amount):
        one = payment(len(self.books.payments), amount)
        self.books.payments[TENANT, one.payment_id] = one
        self.received += amount

    @rule(data=st.data())
    def match(self, data):
        one, target = self._payment(data), self._one(data, kind=False)
        if one and target:
            self.books.allocate(one, target, "structured_reference")
            self.books.decided(one, "overpaid")

    @rule(data=st.data(), amount=AMOUNTS, diff=AMOUNTS, reason=st.sampled_from(sorted(DIFFERENCES)))
    def match_with_a_difference(self, data, amount, diff, reason):
        one, target = self._payment(data), self._one(data, kind=False)
        if one and target:
            held = one.allocations.get(target.item_id)
            if held and held.diff_reason not in {None, reason}:
                if one.unapplied_minor and target.open_minor > 1:
                    with pytest.raises(ValueError, match="for one reason"):
                        self.books.allocate(one, target, "document_number", amount=1, diff=1, reason=reason)
                return
            amount = data.draw(st.sampled_from([amount, max(target.open_minor - diff, 0), target.open_minor]))
            fits = 0 < amount <= one.unapplied_minor and amount + diff <= target.open_minor
            assert self.books.allocate(one, target, "document_number", amount=amount, diff=diff, reason=reason) == (amount if fits else 0)
            self.books.decided(one, "overpaid")

    @rule(data=st.data())
    def attribute(self, data):
        if one := self._payment(data):
            self.books.attribute(one, self._holder(data))

    @rule(data=st.data())
    def unmatch(self, data):
        one, target = self._payment(data), self._one(data, kind=False)
        if one and target:
            self.books.unallocate(one, target)
            self.books.decided(one, "unmatched")

    @rule(data=st.data())
    def give_back(self, data):
        one = self._payment(data)
        if one and not one.returned_minor:
            for item_id in list(one.allocations):
                self.books.unallocate(one, self.books.items[TENANT, item_id])
            if one.unapplied_minor:
                self.books.give_back(one, "ac04")

    @rule(data=st.data(), amount=AMOUNTS)
    def partly_returned_and_cleared(self, data, amount):
        one = self._payment(data)
        if one and one.unapplied_minor and not one.allocations:
            amount = min(amount, one.unapplied_minor)
            self.books.give_back(one, "am04", amount, ledger="recalled")
            if data.draw(st.booleans()):
                self.books.keep_recalled(one, amount)
                self.books.decided(one, "recall_refused")
            else:
                self.books.clear(one, amount, "recalled")

    @rule(data=st.data())
    def withdrawn_or_come_after_all(self, data):
        one = self._payment(data)
        if one and one.withdrawn_minor:
            gone = one.returned_minor - one.withdrawn_minor
            self.books.come_after_all(one)
            assert (one.returned_minor, one.withdrawn_minor) == (gone, 0)
        elif one and one.unapplied_minor and not one.allocations:
            self.books.withdraw(one)

    @rule(data=st.data(), amount=AMOUNTS)
    def return_reversed(self, data, amount):
        one = self._payment(data)
        if one and (gone := one.returned_minor - one.withdrawn_minor):
            self.books.reverse_return(one, min(amount, gone))

    @rule(data=st.data(), amount=AMOUNTS)
    def refund_returned(self, data, amount):
        one = self._payment(data)
        if one and (paid := one.refunded_minor - one.refund_pending_minor):
            self.books.reverse_refund(one, min(amount, paid))

    @rule(data=st.data(), amount=AMOUNTS)
    def refund(self, data, amount):
        one = self._payment(data)
        if one and one.unapplied_minor:
            self.books.refund(one, min(amount, one.unapplied_minor))

    @rule(data=st.data(), booked=st.booleans())
    def end_of_a_refund(self, data, booked):
        one = self._payment(data)
        if one and one.refund_pending_minor:
            if booked:
                self.books.clear(one, one.refund_pending_minor, "refunds")
            else:
                self.books.cancel_refund(one, one.refund_pending_minor)

    @rule(data=st.data(), amount=AMOUNTS)
    def write_off(self, data, amount):
        one = self._one(data, kind=False)
        if one and one.open_minor:
            self.books.write_off(one, min(amount, one.open_minor))

    @rule(data=st.data(), amount=AMOUNTS)
    def reverse_write_off(self, data, amount):
        one = self._one(data, kind=False)
        if one and one.written_off_minor:
            step = min(amount, one.written_off_minor)
            with pytest.raises(ValueError) if one.close_cause == "cancelled" else contextlib.nullcontext():  # noqa: PT011 - what was cancelled is owed no more
                self.books.reverse_write_off(one, step)

    @rule(data=st.data(), amount=AMOUNTS)
    def net(self, data, amount):
        one = self._one(data, kind=False)
        if one and one.open_minor:
            self.books.net(one, min(amount, one.open_minor))

    @rule(data=st.data(), amount=AMOUNTS)
    def undo_net(self, data, amount):
        one = self._one(data, kind=False)
        if one and one.set_off_minor:
            self.books.undo_net(one, min(amount, one.set_off_minor))

    @rule(data=st.data())
    def set_off(self, data):
        credit, target = self._one(data, kind=True), self._one(data, kind=False)
        if credit and target:
            self.books.set_off(credit, target)

    @rule(data=st.data())
    def undo_set_off(self, data):
        credit, target = self._one(data, kind=True), self._one(data, kind=False)
        if credit and target:
            self.books.undo_set_off(credit, target)

    @rule(data=st.data(), amount=AMOUNTS)
    def change(self, data, amount):
        one = self._one(data)
        if one and one.close_cause != "cancelled":
            settled = one.original_minor - one.open_minor
            assert self.books.change_payable(one, amount) is (amount >= settled)

    @rule(data=st.data())
    def move(self, data):
        if one := self._one(data):
            self.books.move(one, self._holder(data))

    @rule(data=st.data())
    def cancel(self, data):
        one = self._one(data)
        if one and one.close_cause != "cancelled":
            for other in self.books.payments.values():
                if self.books.unallocate(other, one):
                    self.books.decided(other, "item_cancelled")
            for _, credit_id, item_id in list(self.books.set_offs):
                if one.item_id in (credit_id, item_id):
                    self.books.undo_set_off(self.books.items[TENANT, credit_id], self.books.items[TENANT, item_id])
            self.books.cancel(one)

    @invariant()
    def payments_are_conserved(self):
        for one in self.books.payments.values():
            assert one.amount_minor == one.allocated_minor + one.unapplied_minor + one.returned_minor + one.refunded_minor
            assert min(one.allocated_minor, one.unapplied_minor, one.returned_minor, one.refund_pending_minor, one.withdrawn_minor) >= 0
            assert one.withdrawn_minor <= one.returned_minor
            assert one.refund_pending_minor <= one.refunded_minor
            assert one.allocated_minor == sum(held.amount_minor for held in one.allocations.values())
        assert self.received == sum(one.amount_minor for one in self.books.payments.values())

    @invariant()
    def items_are_conserved(self):
        for one in self.books.items.values():
            given_up = one.written_off_minor + one.set_off_minor + forgiven(one)
            assert one.original_minor == one.open_minor + one.cash_minor + one.credit_minor + given_up
            assert (
                min(
                    one.written_off_minor,
                    one.set_off_minor,
                    one.open_minor,
                    one.cash_minor,
                    one.credit_minor,
                    one.discount_minor,
                    one.charges_minor,
                    one.withheld_minor,
                )
                >= 0
            )
            assert (one.status == "open") == (one.open_minor > 0)
            paid = sum(p.allocations[one.item_id].amount_minor for p in self.books.payments.values() if one.item_id in p.allocations)
            assert one.cash_minor == paid
            diffs = sum(p.allocations[one.item_id].diff_minor for p in self.books.payments.values() if one.item_id in p.allocations)
            assert forgiven(one) == diffs

    @invariant()
    def accounts_are_the_sums(self):
        for one in self.books.accounts.values():
            mine = [i for i in self.books.items.values() if i.account_id == one.account_id]
            assert one.open_minor == sum(i.open_minor for i in mine if i.kind != "credit_note")
            assert one.unused_credits_minor == sum(i.open_minor for i in mine if i.kind == "credit_note")
            assert one.unapplied_minor == sum(p.unapplied_minor for p in self.books.payments.values() if p.account_id == one.account_id)

    @invariant()
    def the_ledger_agrees(self):
        def balance(name, **of):
            step = 0
            for entry in self.books.entries:
                if all(getattr(entry, field) == value for field, value in of.items()):
                    step += entry.amount_minor * ((entry.debit == name) - (entry.credit == name))
            return step

        for one in self.books.items.values():
            signed = -1 if one.kind == "credit_note" else 1
            assert signed * balance(one.side, item_id=one.item_id) == one.open_minor
        for one in self.books.payments.values():
            assert one.amount_minor - balance("unapplied", payment_id=one.payment_id) == one.unapplied_minor
        assert all(entry.amount_minor > 0 and entry.debit != entry.credit for entry in self.books.entries)


SubLedger.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_sub_ledger = SubLedger.TestCase


@given(paid=AMOUNTS, owed=AMOUNTS)
def test_matching_then_unmatching_is_the_identity(paid, owed):
    books, holder = Books(), account(0)
    books.accounts[TENANT, holder.account_id] = holder
    books.open(one := item(0, owed, holder))
    money = payment(0, paid)
    before = (one.open_minor, one.cash_minor, one.status, one.close_cause, money.unapplied_minor, money.allocations, holder.open_minor)
    books.allocate(money, one, "structured_reference")
    books.unallocate(money, one)
    assert before == (
        one.open_minor,
        one.cash_minor,
        one.status,
        one.close_cause,
        money.unapplied_minor,
        money.allocations,
        holder.open_minor,
    )


@given(owed=AMOUNTS, diff=AMOUNTS, reason=st.sampled_from(sorted(DIFFERENCES)))
def test_matching_with_a_difference_closes_the_item_and_unmatching_is_the_identity(owed, diff, reason):
    books, holder = Books(), account(0)
    books.accounts[TENANT, holder.account_id] = holder
    books.open(one := item(0, owed + diff, holder))
    money = payment(0, owed)
    before = (one.open_minor, forgiven(one), one.cash_minor, one.status, money.unapplied_minor, holder.open_minor)
    assert books.allocate(money, one, "document_number", amount=owed, diff=diff, reason=reason) == owed
    assert (one.open_minor, forgiven(one), one.cash_minor, one.status, money.unapplied_minor) == (0, diff, owed, "paid", 0)
    books.unallocate(money, one)
    assert before == (one.open_minor, forgiven(one), one.cash_minor, one.status, money.unapplied_minor, holder.open_minor)


def test_a_difference_needs_a_reason_and_an_amount():
    books, holder = Books(), account(0)
    books.accounts[TENANT, holder.account_id] = holder
    books.open(one := item(0, 100, holder))
    for terms in ({"amount": 98, "diff": 2}, {"diff": 2, "reason": "discount"}, {"amount": 98, "diff": 2, "reason": "kindness"}):
        with pytest.raises(ValueError, match="a difference has"):
            books.allocate(payment(0, 98), one, "document_number", **terms)
    assert books.allocate(payment(0, 97), one, "document_number", amount=98, diff=2, reason="discount") == 0
    assert one.open_minor == 100


@pytest.mark.parametrize("field", ["tenant_id", "entity_id", "currency"])
def test_what_may_never_meet(field):
    books, holder = Books(), account(0)
    books.accounts[TENANT, holder.account_id] = holder
    books.open(one := item(0, 100, holder))
    money = payment(0, 100)
    setattr(money, field, "USD" if field == "currency" else UUID(int=77))
    with pytest.raises(ValueError, match="within its tenant, entity and currency"):
        books.allocate(money, one, "structured_reference")


@given(st.lists(st.tuples(st.dates(), AMOUNTS), min_size=1, max_size=6), st.data())
def test_instalments_carry_what_is_open_the_latest_due_first(parts, data):
    dues, amounts = [due for due, _ in parts], [amount for _, amount in parts]
    left = data.draw(st.integers(0, sum(amounts)))
    shares = instalments_open(dues, amounts, left)
    assert sum(shares) == left
    assert all(0 <= share <= amount for share, amount in zip(shares, amounts, strict=True))
    untouched = [due for due, share, amount in zip(dues, shares, amounts, strict=True) if share == amount]
    touched = [due for due, share, amount in zip(dues, shares, amounts, strict=True) if share < amount]
    assert not touched or not untouched or max(touched) <= max(dues)
