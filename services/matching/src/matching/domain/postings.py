"""What every operation on the sub-ledger is made of: the rows of one transaction, and the steps that keep their sums right.

A step changes a payment or an item and its account together, or notes what happened; `Books` puts them together.
"""

from dataclasses import dataclass, field
from uuid import UUID

from matching.domain.exchange import Exchange
from matching.domain.rows import DIFFERENCES, WITHDRAWN, Account, Allocation, Entry, Item, Key, Payment


@dataclass(slots=True)
class Postings:
    """The rows of one transaction and what was done to them.

    `touched_accounts` are added to, in the order of the first change; `items_before` holds open amount, status and close cause of each
    touched item as they were, None for a new one; `acts` names the events that a payment's changes call for; `stored` are the
    allocations (tenant, payment, item) that the database holds; `booked` are the payments that this transaction stores, as they stand.
    """

    accounts: dict[Key, Account] = field(default_factory=dict)
    payments: dict[Key, Payment] = field(default_factory=dict)
    items: dict[Key, Item] = field(default_factory=dict)
    set_offs: dict[tuple[UUID, UUID, UUID], int] = field(default_factory=dict)
    touched_accounts: dict[Key, None] = field(default_factory=dict)
    acts: dict[Key, set[str]] = field(default_factory=dict)
    items_before: dict[Key, tuple[int, str, str | None] | None] = field(default_factory=dict)
    stored: set[tuple[UUID, UUID, UUID]] = field(default_factory=set)
    changed_allocations: dict[tuple[UUID, UUID, UUID], Allocation | None] = field(default_factory=dict)
    changed_set_offs: dict[tuple[UUID, UUID, UUID], int] = field(default_factory=dict)
    set_off_with: dict[Key, list[tuple[UUID, UUID, int]]] = field(default_factory=dict)
    """Per payment, what its list set off beside the money: credit note, item, amount."""
    entries: list[Entry] = field(default_factory=list)
    booked: frozenset[Key] = frozenset()

    def added(self) -> list[Account]:
        """What accounts are added that nobody was told of yet: each is told once."""
        changed = [self.accounts[key] for key in self.touched_accounts]
        for account in changed:
            key = (account.tenant_id, account.account_id)
            self.accounts[key] = Account(*key, account.entity_id, account.customer_id, account.currency)
        self.touched_accounts.clear()
        return changed

    def touch(self, item: Item) -> None:
        """Notes that something about the item changed."""
        key = (item.tenant_id, item.item_id)
        if key not in self.items_before:
            self.items_before[key] = (item.open_minor, item.status, item.close_cause)

    def touch_payment(self, payment: Payment) -> None:
        """Notes that something about the payment changed that no other operation tells of, by what has become of it."""
        left = {"unapplied": payment.unapplied_minor, "matched": payment.allocated_minor, "returned": payment.returned_minor}
        self._act((payment.tenant_id, payment.payment_id), next((act for act, minor in left.items() if minor), "refunded"))

    def _act(self, key: Key, act: str) -> None:
        acts = self.acts.get(key)
        if acts is None:
            self.acts[key] = {act}
        else:
            acts.add(act)

    def _forgive(self, payment: Payment, item: Item, reason: str, step: int) -> None:
        """Moves a difference to the column and the ledger account of its reason; below zero takes it back."""
        column, ledger = DIFFERENCES[reason]
        setattr(item, column, getattr(item, column) + step)
        debit, credit = (ledger, "receivables") if step > 0 else ("receivables", ledger)
        self._enter(payment, debit, credit, abs(step), payment.payment_id, item.item_id)

    def _exchanged(self, payment: Payment, item: Item, amount: int, exchange: Exchange) -> None:
        """The entries of an allocation across currencies, each in one currency; an amount below zero takes them back."""
        gained = exchange.difference_minor
        for of, debit, credit, minor in (
            (payment, "unapplied", "exchange", abs(amount)),
            (item, "exchange", "receivables", exchange.item_amount_minor),
            (item, "exchange", "fx_gain", max(gained, 0)),
            (item, "fx_loss", "exchange", max(-gained, 0)),
        ):
            if minor:
                sides = (debit, credit) if amount > 0 else (credit, debit)
                self._enter(of, *sides, minor, payment.payment_id, item.item_id)

    def _come_back(self, payment: Payment, amount: int) -> None:
        payment.returned_minor -= amount
        if payment.returned_minor == payment.withdrawn_minor:
            payment.return_reason = WITHDRAWN if payment.withdrawn_minor else None
        self._unapplied(payment, amount)

    def _unapplied(self, payment: Payment, step: int) -> None:
        payment.unapplied_minor += step
        if payment.account_id is not None and step:
            key = (payment.tenant_id, payment.account_id)
            self.accounts[key].unapplied_minor += step
            self.touched_accounts[key] = None

    def _open(self, item: Item, step: int) -> None:
        self.touch(item)
        item.open_minor += step
        if item.open_minor:
            item.status, item.close_cause = "open", None
        self._balance(item, step)

    def _balance(self, item: Item, step: int) -> None:
        key = (item.tenant_id, item.account_id)
        account = self.accounts[key]
        if item.kind == "credit_note":
            account.unused_credits_minor += step
        else:
            account.open_minor += step
        self.touched_accounts[key] = None

    def _payable(self, item: Item, step: int) -> None:
        self._open(item, step)
        debit, credit = ("billed", "credit_notes") if item.kind == "credit_note" else ("receivables", "billed")
        if step < 0:
            debit, credit = credit, debit
        if step:
            self._enter(item, debit, credit, abs(step), None, item.item_id)

    def _set_off(self, credit: Item, item: Item, step: int) -> None:
        key = (credit.tenant_id, credit.item_id, item.item_id)
        self.set_offs[key] = self.changed_set_offs[key] = self.set_offs.get(key, 0) + step

    def _enter(self, of: Payment | Item, debit: str, credit: str, amount: int, payment_id: UUID | None, item_id: UUID | None) -> None:
        self.entries.append(Entry(of.tenant_id, of.entity_id, of.currency, debit, credit, amount, payment_id, item_id))
