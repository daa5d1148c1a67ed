"""The sub-ledger's rules: what happens to a payment, an item and an account when money is allocated, undone or returned.

`Books` holds the rows of one transaction, which are written back only over what was read. Each operation changes all sides at once and
notes the ledger entry that says so, so these hold after every operation:
- a payment's amount = allocated + unapplied + returned + refunded, each zero or more;
- an item's original = open + what settled it, each zero or more;
- what an account is added is what its items and payments are: its open, unapplied and unused credits are their sums;
- a payment gives and an item takes only what it has.

Amounts are minor units. An allocation never crosses entities or tenants; it crosses currencies only by `allocate_across`, with
both amounts and a rate (docs/adr/0012): then each currency balances for itself, over the ledger account `exchange`.
"""

from dataclasses import dataclass
from datetime import date

from matching.domain.exchange import Exchange
from matching.domain.postings import Postings
from matching.domain.rows import DIFFERENCES, NO_RECEIVABLE, WITHDRAWN, Account, Allocation, Entry, Item, Key, Payment

__all__ = [
    "DIFFERENCES",
    "Account",
    "Allocation",
    "Books",
    "Entry",
    "Exchange",
    "Item",
    "Key",
    "Payment",
    "instalments_open",
]


@dataclass(slots=True)
class Books(Postings):
    """The rows of one transaction and the operations on them."""

    # --- payments ------------------------------------------------------------------------------------------------
    def allocate(
        self, payment: Payment, item: Item, rule: str, *, amount: int | None = None, diff: int = 0, reason: str | None = None
    ) -> int:
        """Allocates `amount` of the payment to the item, as far as both have it, or all they have; returns how much was received.

        `diff` minor units more leave the item unpaid, for a reason in DIFFERENCES: discount, charges, tolerance. They are
        granted only together with the whole of `amount`, which is needed then: nothing is forgiven on a part.

        Raises ValueError where the two may never meet: another tenant, entity or currency, or a credit note; and for a
        difference without a known reason, below zero or other than the one already granted on the same pair.
        """
        if payment.tenant_id != item.tenant_id or payment.entity_id != item.entity_id or payment.currency != item.currency:
            raise ValueError("a payment is allocated within its tenant, entity and currency")
        if item.kind == "credit_note":
            raise ValueError("a payment does not settle a credit note")
        if diff < 0 or (diff and (reason not in DIFFERENCES or amount is None)):
            raise ValueError("a difference has an amount above zero, a known reason and an amount received with it")
        if diff and (payment.unapplied_minor < (amount or 0) or item.open_minor < (amount or 0) + diff):
            return 0
        received = (
            min(payment.unapplied_minor, item.open_minor) if amount is None else min(amount, payment.unapplied_minor, item.open_minor)
        )
        if received <= 0:
            return 0
        held = payment.allocations.get(item.item_id)
        if held is None:
            held = payment.allocations[item.item_id] = Allocation(item.item_id, item.customer_id, item.invoice_number, 0, rule)
        elif diff and held.diff_reason not in {None, reason}:
            raise ValueError("one payment forgives one item for one reason")
        self._unapplied(payment, -received)
        payment.allocated_minor += received
        self._open(item, -received - diff)
        item.cash_minor += received
        item.value_date = payment.value_date if item.value_date is None else max(item.value_date, payment.value_date)
        if item.open_minor == 0:
            item.status, item.close_cause = "paid", None
        held.amount_minor += received
        self._enter(payment, "unapplied", "receivables", received, payment.payment_id, item.item_id)
        if diff and reason is not None:
            held.diff_minor += diff
            held.diff_reason = reason
            self._forgive(payment, item, reason, diff)
        self.changed_allocations[payment.tenant_id, payment.payment_id, item.item_id] = held
        self._act((payment.tenant_id, payment.payment_id), "matched")
        return received

    def allocate_across(self, payment: Payment, item: Item, rule: str, amount: int, exchange: Exchange) -> None:
        """Allocates `amount` of the payment to an item in another currency, of which that settles `exchange.item_amount_minor`.

        What the rate makes of the amount beside that is a gain or loss of ours, never the customer's. Raises ValueError where the
        two may never meet, are in one currency, have met already, or one of them has less.
        """
        if payment.tenant_id != item.tenant_id or payment.entity_id != item.entity_id or payment.currency == item.currency:
            raise ValueError("a payment is exchanged within its tenant and entity, for another currency")
        if item.kind == "credit_note" or item.item_id in payment.allocations:
            raise ValueError("a payment is exchanged for a receivable, once")
        settled = exchange.item_amount_minor
        if not (0 < amount <= payment.unapplied_minor and 0 < settled <= item.open_minor):
            raise ValueError("the payment or the item has less than that")
        held = Allocation(item.item_id, item.customer_id, item.invoice_number, amount, rule, exchange=exchange)
        payment.allocations[item.item_id] = held
        self._unapplied(payment, -amount)
        payment.allocated_minor += amount
        self._open(item, -settled)
        item.cash_minor += settled
        item.value_date = payment.value_date if item.value_date is None else max(item.value_date, payment.value_date)
        if item.open_minor == 0:
            item.status, item.close_cause = "paid", None
        self._exchanged(payment, item, amount, exchange)
        self.changed_allocations[payment.tenant_id, payment.payment_id, item.item_id] = held
        self._act((payment.tenant_id, payment.payment_id), "matched")

    def unallocate(self, payment: Payment, item: Item) -> int:
        """Undoes what of the payment is allocated to the item, its difference too; returns how much was received."""
        held = payment.allocations.pop(item.item_id, None)
        if held is None:
            return 0
        amount, settled = held.amount_minor, held.settled_minor
        payment.allocated_minor -= amount
        self._unapplied(payment, amount)
        item.cash_minor -= settled
        self._open(item, settled + held.diff_minor)
        self.changed_allocations[payment.tenant_id, payment.payment_id, item.item_id] = None
        self._act((payment.tenant_id, payment.payment_id), "unmatched")
        if held.exchange is not None:
            self._exchanged(payment, item, -amount, held.exchange)
            return amount
        self._enter(payment, "receivables", "unapplied", amount, payment.payment_id, item.item_id)
        if held.diff_minor and held.diff_reason is not None:
            self._forgive(payment, item, held.diff_reason, -held.diff_minor)
        return amount

    def attribute(self, payment: Payment, account: Account | None) -> None:
        """Says whose payment it is: its unapplied part counts on that account from now on."""
        wanted = account.account_id if account else None
        if payment.account_id == wanted:
            return
        rest = payment.unapplied_minor
        self._unapplied(payment, -rest)
        payment.account_id = wanted
        payment.payer_customer_id = account.customer_id if account else None
        self._unapplied(payment, rest)

    def decided(self, payment: Payment, reason: str | None) -> bool:
        """Sets the status that the amounts call for; `reason` says why some is unapplied. Returns whether anything is new."""
        key = (payment.tenant_id, payment.payment_id)
        if payment.returned_minor + payment.refunded_minor == payment.amount_minor:
            status, reason = "returned" if payment.returned_minor else "refunded", None
        elif payment.unapplied_minor == 0:
            status, reason = "matched", None
        else:
            status = "partly_matched" if payment.allocated_minor else "unapplied"
        new = status != payment.status or reason != payment.unapplied_reason or key in self.acts
        if new and payment.unapplied_minor:
            self._act(key, "unapplied")
        payment.status, payment.unapplied_reason = status, reason
        return new

    def give_back(self, payment: Payment, reason: str, amount: int | None = None, *, ledger: str = "bank") -> None:
        """The bank took `amount` back, or all that is unapplied: allocations must be undone before.

        `ledger` is `recalled` while the bank only asks for it; `clear` says that it was booked. Raises ValueError for more
        than is unapplied.
        """
        amount = payment.unapplied_minor if amount is None else amount
        if not 0 < amount <= payment.unapplied_minor:
            raise ValueError("only what is unapplied is given back")
        self._unapplied(payment, -amount)
        payment.returned_minor += amount
        payment.return_reason = reason
        self._enter(payment, "unapplied", ledger, amount, payment.payment_id, None)
        self.decided(payment, "partly_returned")
        self.acts[payment.tenant_id, payment.payment_id] = {"returned"}

    def set_apart(self, payment: Payment) -> None:
        """It is no receivable: all of it leaves the sub-ledger, and stays whose it was. Raises ValueError where some is not unapplied."""
        if payment.unapplied_minor != payment.amount_minor:
            raise ValueError("only what is unapplied, whole, is no receivable")
        payment.candidate_customer_ids = None
        self.give_back(payment, NO_RECEIVABLE, ledger="other_receipts")

    def take_in(self, payment: Payment) -> None:
        """It was set apart, and is a receivable after all: unapplied again."""
        self._enter(payment, "other_receipts", "unapplied", payment.returned_minor, payment.payment_id, None)
        self._come_back(payment, payment.returned_minor)
        self._act((payment.tenant_id, payment.payment_id), "unapplied")
        self.decided(payment, "unmatched")

    def withdraw(self, payment: Payment) -> None:
        """All that is unapplied has not come: allocations must be undone before. The reason of what was really returned stays.

        Raises ValueError where nothing is unapplied.
        """
        amount = payment.unapplied_minor
        self.give_back(payment, payment.return_reason or WITHDRAWN)
        payment.withdrawn_minor += amount

    def come_after_all(self, payment: Payment) -> None:
        """Money that was notified and withdrawn is booked now: what was withdrawn, and no more, is the payment's again, and unapplied."""
        amount, payment.withdrawn_minor = payment.withdrawn_minor, 0
        self._come_back(payment, amount)
        self._enter(payment, "bank", "unapplied", amount, payment.payment_id, None)
        self.decided(payment, "unmatched")

    def reverse_return(self, payment: Payment, amount: int) -> None:
        """The bank brings back what it had returned: it is the payment's again, and unapplied. Raises ValueError for more than that."""
        if not 0 < amount <= payment.returned_minor - payment.withdrawn_minor:
            raise ValueError("only what was returned comes back")
        self._come_back(payment, amount)
        self._enter(payment, "bank", "unapplied", amount, payment.payment_id, None)
        self._act((payment.tenant_id, payment.payment_id), "unapplied")
        self.decided(payment, "return_reversed")

    def keep_recalled(self, payment: Payment, amount: int) -> None:
        """A recall was refused: what was given back for it is the payment's again, and unapplied."""
        self._come_back(payment, amount)
        self._enter(payment, "recalled", "unapplied", amount, payment.payment_id, None)
        self._act((payment.tenant_id, payment.payment_id), "unapplied")

    def refund(self, payment: Payment, amount: int) -> None:
        """Orders a refund of what is unapplied: it is nobody's to allocate any more. Raises ValueError for more than that."""
        if not 0 < amount <= payment.unapplied_minor:
            raise ValueError("only what is unapplied is refunded")
        self._unapplied(payment, -amount)
        payment.refunded_minor += amount
        payment.refund_pending_minor += amount
        self._enter(payment, "unapplied", "refunds", amount, payment.payment_id, None)
        self.decided(payment, payment.unapplied_reason)
        self.acts[payment.tenant_id, payment.payment_id] = {"refunded"}

    def cancel_refund(self, payment: Payment, amount: int) -> None:
        """An ordered refund will not be carried out: the money is unapplied again."""
        payment.refunded_minor -= amount
        payment.refund_pending_minor -= amount
        self._unapplied(payment, amount)
        self._enter(payment, "refunds", "unapplied", amount, payment.payment_id, None)
        self._act((payment.tenant_id, payment.payment_id), "unapplied")
        self.decided(payment, "refund_cancelled")

    def reverse_refund(self, payment: Payment, amount: int, fee: int = 0) -> None:
        """A refund that was paid came back from the creditor's bank, less a fee of ours: all of the money is unapplied again."""
        payment.refunded_minor -= amount
        self._unapplied(payment, amount)
        self._enter(payment, "bank", "refunds", amount - fee, payment.payment_id, None)
        if fee:
            self._enter(payment, "charges", "refunds", fee, payment.payment_id, None)
        self._enter(payment, "refunds", "unapplied", amount, payment.payment_id, None)
        self._act((payment.tenant_id, payment.payment_id), "refunded")
        self.decided(payment, "refund_returned")

    def clear(self, payment: Payment, amount: int, ledger: str, fee: int = 0) -> None:
        """The bank booked what left by a refund (`refunds`) or a recall (`recalled`), and with it a fee of ours."""
        if ledger == "refunds":
            payment.refund_pending_minor -= amount
            self._act((payment.tenant_id, payment.payment_id), "refunded")
        self._enter(payment, ledger, "bank", amount, payment.payment_id, None)
        if fee:
            self._enter(payment, "charges", "bank", fee, payment.payment_id, None)

    # --- items ---------------------------------------------------------------------------------------------------
    def open(self, item: Item) -> None:
        """Takes in a new item, whole and open. `item` comes with open 0, status closed and its account in the books."""
        key = (item.tenant_id, item.item_id)
        self.items[key] = item
        self.items_before[key] = None
        self._payable(item, item.original_minor)
        if not item.open_minor:
            item.status, item.close_cause = "closed", "nothing_payable"

    def change_payable(self, item: Item, original: int) -> bool:
        """Sets what the item was for; False (and nothing changed) when more than that is settled already."""
        if original == item.original_minor:
            return True
        if original < item.original_minor - item.open_minor:
            return False
        step = original - item.original_minor
        item.original_minor = original
        self._payable(item, step)
        if not item.open_minor:
            item.status, item.close_cause = ("paid", None) if item.cash_minor else ("closed", _settled_by(item) or "changed")
        return True

    def cancel(self, item: Item) -> None:
        """Nothing is owed any more. Allocations and set-offs must be undone before; what was open leaves as credit."""
        self.touch(item)
        amount = item.open_minor
        if amount:
            self._payable(item, -amount)
            item.credit_minor += amount
        item.status, item.close_cause = "closed", "cancelled"

    def reinstate(self, item: Item) -> None:
        """A cancelled item is owed again, as far as nothing else had settled it: its source took the cancellation back."""
        self.touch(item)
        amount, item.credit_minor = item.credit_minor, 0
        item.close_cause = _settled_by(item) or "nothing_payable"
        if amount:
            self._payable(item, amount)

    def set_off(self, credit: Item, item: Item, most: int | None = None) -> int:
        """Sets a credit note off against an item, as far as both are open and at most `most`; returns how much.

        Raises ValueError where the two may never meet: another tenant, entity or currency.
        """
        if (credit.tenant_id, credit.entity_id, credit.currency) != (item.tenant_id, item.entity_id, item.currency):
            raise ValueError("a credit note is set off within its tenant, entity and currency")
        amount = min(credit.open_minor, item.open_minor) if most is None else min(credit.open_minor, item.open_minor, most)
        if amount <= 0:
            return 0
        for side in (credit, item):
            self._open(side, -amount)
            side.credit_minor += amount
            if not side.open_minor:
                side.status, side.close_cause = "closed", "credit"
        self._set_off(credit, item, amount)
        self._enter(credit, "credit_notes", "set_off", amount, None, credit.item_id)
        self._enter(item, "set_off", "receivables", amount, None, item.item_id)
        return amount

    def undo_set_off(self, credit: Item, item: Item, most: int | None = None) -> int:
        """Takes a set-off back, or at most `most` of it; returns how much."""
        amount = self.set_offs.get((credit.tenant_id, credit.item_id, item.item_id), 0)
        amount = amount if most is None else min(amount, most)
        if not amount:
            return 0
        for side in (credit, item):
            side.credit_minor -= amount
            self._open(side, amount)
        self._set_off(credit, item, -amount)
        self._enter(credit, "set_off", "credit_notes", amount, None, credit.item_id)
        self._enter(item, "receivables", "set_off", amount, None, item.item_id)
        return amount

    def write_off(self, item: Item, amount: int) -> None:
        """Gives up `amount` of what is open as a loss. Raises ValueError for more than that, and for a credit note."""
        if item.kind == "credit_note" or not 0 < amount <= item.open_minor:
            raise ValueError("only what is open of a receivable is written off")
        self._open(item, -amount)
        item.written_off_minor += amount
        if not item.open_minor:
            item.status, item.close_cause = "closed", "written_off"
        self._enter(item, "bad_debt", "receivables", amount, None, item.item_id)

    def net(self, item: Item, amount: int) -> None:
        """Settles `amount` of what is open with what we owe the customer elsewhere. Raises ValueError for more, and for a credit note."""
        if item.kind == "credit_note" or not 0 < amount <= item.open_minor:
            raise ValueError("only what is open of a receivable is netted")
        self._open(item, -amount)
        item.set_off_minor += amount
        if not item.open_minor:
            item.status, item.close_cause = "closed", "netting"
        self._enter(item, "payables", "receivables", amount, None, item.item_id)

    def undo_net(self, item: Item, amount: int) -> None:
        """A netting was taken back: the item owes again, unless it was cancelled. Raises ValueError for more than was netted."""
        if not 0 < amount <= item.set_off_minor:
            raise ValueError("only what was netted is taken back")
        cancelled = item.close_cause == "cancelled"
        item.set_off_minor -= amount
        self._open(item, amount)
        self._enter(item, "receivables", "payables", amount, None, item.item_id)
        if cancelled:
            self.cancel(item)

    def reverse_write_off(self, item: Item, amount: int) -> None:
        """What was written off is owed again. Raises ValueError for more than was, and for a cancelled item: nothing of it is owed."""
        if not 0 < amount <= item.written_off_minor or item.close_cause == "cancelled":
            raise ValueError("only what was written off of an item that is not cancelled is taken back")
        item.written_off_minor -= amount
        self._open(item, amount)
        self._enter(item, "receivables", "bad_debt", amount, None, item.item_id)

    def move(self, item: Item, account: Account) -> None:
        """The item is another customer's from now on."""
        self.touch(item)
        rest = item.open_minor
        self._balance(item, -rest)
        item.account_id, item.customer_id = account.account_id, account.customer_id
        self._balance(item, rest)


def _settled_by(item: Item) -> str | None:
    """What else than money has settled an item, as a cause of its end."""
    return "written_off" if item.written_off_minor else "netting" if item.set_off_minor else "credit" if item.credit_minor else None


def instalments_open(dues: list[date], amounts: list[int], open_minor: int) -> list[int]:
    """What is open of each instalment: what was settled went to the earliest due first (the lower number on a tie).

    Where the instalments no longer add up to the item (an opening balance, a discount), the latest due are open first.
    """
    if len(amounts) == 1:
        return [open_minor]
    left = open_minor
    result = [0] * len(amounts)
    for at in sorted(range(len(amounts)), key=lambda index: (dues[index], index), reverse=True):
        result[at] = min(amounts[at], left)
        left -= result[at]
    if left:
        result[min(range(len(amounts)), key=lambda index: (dues[index], index))] += left
    return result
