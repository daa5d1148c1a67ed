"""The simulated bank: it keeps one account and its virtual IBANs, and tells of every transfer at once, at day's end, or both.

Invariants: a transfer has one AcctSvcrRef, whatever tells of it; statements follow one another day by day without a gap
and each opens with the balance at which the one before closed; what is booked is in exactly one statement.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sandbox import camt
from sandbox.actions import Notice

BIC = "ENCOFRPPXXX"
_BATCH_MIN = 3
_BATCH_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A credit transfer as it reaches the bank; `to_iban` is the account or one of its virtual IBANs."""

    debtor_name: str
    debtor_iban: str
    to_iban: str
    amount_minor: int
    day: date
    end_to_end_id: str | None = None
    structured_reference: str | None = None
    remittance: tuple[str, ...] = ()


class Bank:
    """One account. Its first statement is that of `first_day`."""

    def __init__(self, *, iban: str, currency: str, holder: str, first_day: date, opening_minor: int = 0) -> None:
        self.account = camt.Account(iban=iban, currency=currency, holder=holder, bic=BIC)
        self.received_minor = self.returned_minor = 0
        self._ibans = {iban}
        self._next_day, self._balance, self._number = first_day, opening_minor, 0
        self._booked: dict[str, camt.Transaction] = {}
        self._returned: set[str] = set()
        self._untold: dict[date, list[camt.Transaction]] = {}
        self._batched: set[str] = set()
        self._json: deque[camt.Transaction] = deque()
        self._entries: deque[camt.Transaction] = deque()

    def open_virtual_ibans(self, ibans: Iterable[str]) -> None:
        """From now on transfers to these are credited to the account."""
        self._ibans.update(ibans)

    def accept(self, order: Order, *, notice: Notice = "json", twice: bool = False) -> camt.Transaction:
        """Book a transfer and tell of it by `notice` (and in the statement of its day); `twice` tells it two times.

        Raises ValueError for an amount that is not positive, an IBAN that is not of this account, or a day whose statement is out.
        """
        if order.amount_minor <= 0:
            raise ValueError("a transfer has a positive amount")
        if order.to_iban not in self._ibans:
            raise ValueError(f"{order.to_iban} is no IBAN of account {self.account.iban}")
        transaction = camt.Transaction(
            reference=self._reference(order.day),
            amount_minor=order.amount_minor,
            booking_date=order.day,
            value_date=order.day,
            debtor_name=order.debtor_name,
            debtor_iban=order.debtor_iban,
            credited_iban=order.to_iban,
            end_to_end_id=order.end_to_end_id,
            structured_reference=order.structured_reference,
            remittance=order.remittance,
        )
        self._book(transaction, notice=notice, times=2 if twice else 1)
        self.received_minor += order.amount_minor
        return transaction

    def give_back(self, reference: str, *, day: date, reason: str, notice: Notice = "statement") -> camt.Transaction:
        """Return an earlier transfer: a debit of the whole amount with the ISO 20022 return reason code.

        Raises KeyError for an unknown reference, ValueError for one that went back before.
        """
        original = self._booked[reference]
        if reference in self._returned or original.return_reason is not None:
            raise ValueError(f"{reference} cannot go back: it has gone back, or is itself a return")
        transaction = camt.Transaction(
            reference=self._reference(day),
            amount_minor=original.amount_minor,
            booking_date=day,
            value_date=day,
            debtor_name=original.debtor_name,
            debtor_iban=original.debtor_iban,
            credited_iban=original.credited_iban,
            end_to_end_id=original.end_to_end_id,
            return_reason=reason,
            returned_reference=reference,
        )
        self._book(transaction, notice="camt054" if notice == "camt054" else "statement", times=1)
        self._returned.add(reference)
        self.returned_minor += original.amount_minor
        return transaction

    def notifications(self) -> list[dict[str, object]]:
        """The JSON bodies of what was not told yet; `bank_reference` names the transfer, in all messages alike."""
        told = [self._notification(transaction) for transaction in self._json]
        self._json.clear()
        return told

    def camt054(self, created: datetime) -> list[bytes]:
        """camt.054 messages of what was not told yet; the same transaction is never twice in one message."""
        waiting: list[list[camt.Transaction]] = []
        while self._entries:
            transaction = self._entries.popleft()
            free = next((group for group in waiting if transaction not in group), None)
            if free is None:
                waiting.append([transaction])
            else:
                free.append(transaction)
        return [
            camt.notification(
                self.account,
                message_id=f"NTFN-{group[0].reference}-{copy}",
                created=created,
                entries=[camt.Entry(reference=transaction.reference, transactions=(transaction,)) for transaction in group],
            )
            for copy, group in enumerate(waiting)
        ]

    def statement(self, day: date, created: datetime) -> bytes:
        """camt.053 of `day`. Statements are asked for day by day: raises ValueError for any other than the next."""
        if day != self._next_day:
            raise ValueError(f"the next statement is that of {self._next_day}, not {day}")
        entries = self._day_entries(day)
        self._number += 1
        xml = camt.statement(self.account, number=self._number, day=day, created=created, opening_minor=self._balance, entries=entries)
        self._balance += sum(entry.signed_minor for entry in entries)
        self._next_day = day + timedelta(days=1)
        return xml

    def _day_entries(self, day: date) -> list[camt.Entry]:
        """The day's bookings; credits that only the statement tells of are booked in batches with their details."""
        entries, batch = [], []
        for transaction in self._untold.pop(day, []):
            if transaction.reference in self._batched:
                batch.append(transaction)
            else:
                entries.append(camt.Entry(reference=transaction.reference, transactions=(transaction,)))
        for at in range(0, len(batch), _BATCH_MAX):
            group = tuple(batch[at : at + _BATCH_MAX])
            if len(group) < _BATCH_MIN:
                entries += [camt.Entry(reference=one.reference, transactions=(one,)) for one in group]
            else:
                entries.append(camt.Entry(reference=f"BATCH-{group[0].reference}", transactions=group))
        return entries

    def _book(self, transaction: camt.Transaction, *, notice: Notice, times: int) -> None:
        if transaction.booking_date < self._next_day:
            raise ValueError(f"the statement of {transaction.booking_date} is out: nothing more is booked on that day")
        self._booked[transaction.reference] = transaction
        self._untold.setdefault(transaction.booking_date, []).append(transaction)
        if notice == "json":
            self._json.extend([transaction] * times)
        elif notice == "camt054":
            self._entries.extend([transaction] * times)
        elif transaction.return_reason is None:
            self._batched.add(transaction.reference)

    def _reference(self, day: date) -> str:
        return f"{self.account.currency}{day:%y%m%d}{len(self._booked) + 1:07d}"

    def _notification(self, transaction: camt.Transaction) -> dict[str, object]:
        body: dict[str, object] = {
            "account_iban": self.account.iban,
            "amount_minor": transaction.amount_minor,
            "currency": self.account.currency,
            "booking_date": transaction.booking_date.isoformat(),
            "value_date": transaction.value_date.isoformat(),
            "bank_reference": transaction.reference,
            "remittance": list(transaction.remittance),
            "debtor_name": transaction.debtor_name,
            "debtor_iban": transaction.debtor_iban,
        }
        if transaction.credited_iban != self.account.iban:
            body["virtual_iban"] = transaction.credited_iban
        if transaction.end_to_end_id:
            body["end_to_end_id"] = transaction.end_to_end_id
        if transaction.structured_reference:
            body["structured_reference"] = transaction.structured_reference
        return body
