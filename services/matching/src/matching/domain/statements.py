"""What a bank says: statements, notifications and their transactions, whatever file they came in; and whether they add up.

The chain of identity of a transaction on one account, first that is there:
1. the bank's own reference (AcctSvcrRef) of the transaction, or of the entry where the entry is one transaction;
2. TxId; 3. EndToEndId; 4. a digest of text and counterparty; each of 2 to 4 with the booking date;
always with direction and amount, and with an ordinal for equal ones within one statement.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One movement of money. `amount_minor` is above zero; `credit` says that it came in.

    `kind`: payment (money in from a debtor), return (an incoming payment taken back), total (a batch whose details come
    elsewhere), other.
    """

    kind: str
    credit: bool
    amount_minor: int
    currency: str
    booking_date: date
    value_date: date
    bank_reference: str | None = None
    entry_reference: str | None = None
    transaction_id: str | None = None
    end_to_end_id: str | None = None
    structured_reference: str | None = None
    remittance: list[str] = field(default_factory=list)
    debtor_name: str | None = None
    debtor_iban: str | None = None
    virtual_iban: str | None = None
    return_reason: str | None = None

    @property
    def signed_minor(self) -> int:
        """The amount, negative where it went out."""
        return self.amount_minor if self.credit else -self.amount_minor

    def identity(self) -> str:
        """What tells this transaction from others of its account, but for equal ones within one statement."""
        money = f"{self.signed_minor}{self.currency}"
        if self.bank_reference:
            return f"ref:{self.bank_reference}|{money}"
        day = self.booking_date.isoformat()
        if self.transaction_id:
            return f"tx:{self.transaction_id}|{money}|{day}"
        if self.end_to_end_id:
            return f"e2e:{self.end_to_end_id}|{money}|{day}"
        said = "\x1f".join([self.kind, self.debtor_iban or "", self.debtor_name or "", self.structured_reference or "", *self.remittance])
        return f"text:{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}|{money}|{day}"


@dataclass(slots=True, kw_only=True)
class Entry:
    """A line of a statement: what it adds to the balance, and the transactions in it."""

    signed_minor: int
    currency: str
    status: str
    booking_date: date | None
    transactions: list[Transaction]
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class Statement:
    """A statement (camt.053), report (camt.052) or notification (camt.054) of one account.

    `account` is an IBAN, or the bank's own number where there is none. Balances are signed minor units.
    """

    kind: str
    identification: str
    number: str
    sequence: int | None
    account: str
    currency: str | None
    first_day: date | None
    last_day: date | None
    opening_minor: int | None
    closing_minor: int | None
    entries: list[Entry]
    stated_entries: int | None = None
    stated_sum_minor: int | None = None
    problem: str | None = None

    @property
    def booked(self) -> list[Entry]:
        """The entries that count in the balance."""
        return [entry for entry in self.entries if entry.status == "BOOK"]

    @property
    def entries_minor(self) -> int:
        """What the booked entries add to the balance."""
        return sum(entry.signed_minor for entry in self.booked)

    def verdict(self) -> tuple[str, str] | None:  # noqa: PLR0911 - one line per rule, in their order
        """Why this does not add up, as a code and a sentence; None when it does.

        Only a statement (camt.053) has balances that must agree; counts and sums hold for each kind where they are stated.
        """
        if self.problem:
            return "unreadable", self.problem
        for number, entry in enumerate(self.entries, 1):
            if entry.problem:
                return "entry_differs", f"entry {number}: {entry.problem}"
            if self.currency and entry.currency != self.currency:
                return "currency_differs", f"entry {number} is in {entry.currency}, the account in {self.currency}"
        if self.stated_entries is not None and self.stated_entries != len(self.entries):
            return "count_differs", f"{self.stated_entries} entries stated, {len(self.entries)} found"
        if self.stated_sum_minor is not None and self.stated_sum_minor != sum(abs(entry.signed_minor) for entry in self.entries):
            return "sum_differs", "the stated sum of the entries is not what they sum to"
        if self.kind == "camt.053":
            if self.opening_minor is None or self.closing_minor is None:
                return "balance_missing", "the opening or closing balance is missing"
            if self.opening_minor + self.entries_minor != self.closing_minor:
                found = self.opening_minor + self.entries_minor
                return "balance_differs", f"opening and entries make {found} minor units, the closing balance says {self.closing_minor}"
        return None


def numbered(transactions: Iterable[Transaction]) -> Iterator[tuple[str, Transaction]]:
    """Each transaction with its key: its identity and, from the second equal one on, an ordinal."""
    seen: Counter[str] = Counter()
    for transaction in transactions:
        base = transaction.identity()
        seen[base] += 1
        yield (base if seen[base] == 1 else f"{base}#{seen[base]}"), transaction
