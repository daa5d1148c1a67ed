"""What a bank says, whatever file it came in: statements, their entries, the transactions in them; and whether they add up.

The chain of identity of a transaction on one account, first that is there:
1. the bank's own reference of the transaction, or of the entry where the entry is one transaction;
2. TxId or UETR; 3. EndToEndId; 4. a digest of text and counterparty; each of 2 to 4 with the booking date;
always with direction and amount, and with an ordinal for equal ones within one statement.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

ROLES = {
    "camt.053": "statement",
    "camt.052": "report",
    "camt.054": "notification",
    "MT940": "statement",
    "MT942": "report",
    "CODA": "statement",
    "CFONB120": "statement",
    "BAI2": "statement",
    "BAI2-interim": "report",
    "OFX": "statement",
    "AEB43": "statement",
}
"""What a kind of file is: the bank's final word (statement), its word of the day (report), or a single movement told at once."""

AMOUNTS_MAX = 500
"""Entries of a day whose amounts are kept: a page of it, in a file of another format, is known by them."""
MUST_BALANCE = frozenset({"camt.053", "MT940", "CODA", "CFONB120", "AEB43"})
"""Formats whose statements always have both balances; BAI2 may leave them out, OFX has only the closing one."""

STATUSES = ("booked", "pending", "information")

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2099, 12, 31)
"""What a bank may book on, and the first day on which anything is settled: before, nobody sent files; years of two digits end in 2079,
and what is beyond is a blank of some program.
"""
VALUE_APART = timedelta(days=366)
"""How far a value date may be from the booking day: banks correct what is months old, not years."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Money as a file states it beside the transaction's own: charges, the instructed amount. Minor units."""

    minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A structured reference and its scheme: RF (ISO 11649), QRR/ESR (Swiss), OGM (Belgian), KID, CODA type NNN, other."""

    scheme: str
    value: str


@dataclass(slots=True, kw_only=True)
class Transaction:
    """One movement of money. `amount_minor` is not negative; `credit` says that it came in.

    `kind`: payment (money in from a debtor), return (an incoming payment taken back), refund (money given back to a debtor),
    fee (the bank's), total (a batch whose details come elsewhere), other.
    `booking_date` and `value_date` are the file's own words; `day` is the day it counts on: the first of booking date, value
    date and the day of the message. `ultimate_name`: for whom the counterparty pays, or is paid, where the bank says that (ISO 20022's
    ultimate debtor and ultimate creditor).
    """

    kind: str
    credit: bool
    amount_minor: int
    currency: str
    day: date
    booking_date: date | None = None
    value_date: date | None = None
    status: str = "booked"
    reversal: bool = False
    bank_reference: str | None = None
    entry_reference: str | None = None
    transaction_id: str | None = None
    end_to_end_id: str | None = None
    mandate_id: str | None = None
    batch_id: str | None = None
    transaction_code: str | None = None
    references: list[Reference] = field(default_factory=list)
    remittance: list[str] = field(default_factory=list)
    counterparty_name: str | None = None
    counterparty_iban: str | None = None
    ultimate_name: str | None = None
    virtual_iban: str | None = None
    instructed: Amount | None = None
    charges: list[Amount] = field(default_factory=list)
    return_reason: str | None = None

    @property
    def structured_reference(self) -> str | None:
        """The first structured reference, as it is compared."""
        return self.references[0].value if self.references else None

    @property
    def signed_minor(self) -> int:
        """The amount, negative where it went out."""
        return self.amount_minor if self.credit else -self.amount_minor

    def identity(self) -> str:
        """What tells this transaction from others of its account, but for equal ones within one statement."""
        money = f"{self.signed_minor}{self.currency}"
        if self.bank_reference:
            return f"ref:{self.bank_reference}|{money}"
        day = self.day.isoformat()
        if self.transaction_id:
            return f"tx:{self.transaction_id}|{money}|{day}"
        if self.end_to_end_id:
            return f"e2e:{self.end_to_end_id}|{money}|{day}"
        said = "\x1f".join(
            [self.kind, self.counterparty_iban or "", self.counterparty_name or "", self.structured_reference or "", *self.remittance]
        )
        return f"text:{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}|{money}|{day}"


@dataclass(slots=True, kw_only=True)
class Entry:
    """A line of a statement: what it adds to the balance, and the transactions in it.

    `problem` says why it cannot be booked; `remarks` say what is odd and harmless. `batch`: the bank says it is a collective entry.
    """

    signed_minor: int
    currency: str
    status: str
    transactions: list[Transaction]
    batch: bool = False
    problem: str | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def credit(self) -> bool:
        """Whether it is counted with what came in: one of nothing goes the way that its first transaction says."""
        if self.signed_minor or not self.transactions:
            return self.signed_minor >= 0
        return self.transactions[0].credit


@dataclass(slots=True)
class Day:
    """What a statement moves on a day: number and sum of its entries and, where there are no more than AMOUNTS_MAX, their amounts."""

    entries: int = 0
    minor: int = 0
    amounts: list[int] = field(default_factory=list)

    def add(self, minor: int) -> None:
        """Counts an entry, below zero for what goes out."""
        self.entries += 1
        self.minor += minor
        if self.entries <= AMOUNTS_MAX:
            self.amounts.append(minor)
        else:
            self.amounts.clear()


@dataclass(slots=True, kw_only=True)
class Statement:
    """A statement, report or notification of one account, and the sums of the entries that were added to it.

    `account` is an IBAN, or the bank's own number where there is none. Balances are signed minor units. The entries themselves
    are not kept: a file may hold any number of them.
    """

    kind: str
    identification: str = ""
    number: str = ""
    sequence: int | None = None
    account: str = ""
    currency: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    opening_minor: int | None = None
    closing_minor: int | None = None
    stated_entries: int | None = None
    stated_sum_minor: int | None = None
    stated_credit: tuple[int | None, int | None] = (None, None)
    """Count and sum of the credits, where the file states them; `stated_debit` likewise."""
    stated_debit: tuple[int | None, int | None] = (None, None)
    problem: str | None = None
    remarks: list[str] = field(default_factory=list)

    entries: int = 0
    transactions: int = 0
    booked_minor: int = 0
    credits: list[int] = field(default_factory=lambda: [0, 0])
    """Number and sum of the entries that came in; `debits` likewise."""
    debits: list[int] = field(default_factory=lambda: [0, 0])
    wrong: tuple[str, str] | None = None
    days: dict[date, "Day"] = field(default_factory=dict)
    """What the booked entries move by day."""
    first_entry_day: date | None = None
    last_entry_day: date | None = None
    last_booked_day: date | None = None

    @property
    def role(self) -> str:
        """statement, report or notification."""
        return ROLES[self.kind]

    def add(self, entry: Entry) -> Entry:
        """Counts an entry; returns it."""
        self.entries += 1
        self.transactions += len(entry.transactions)
        if entry.status == "booked":
            self.booked_minor += entry.signed_minor
            for one in entry.transactions[:1]:
                self.days.setdefault(one.day, Day()).add(entry.signed_minor)
        side = self.credits if entry.credit else self.debits
        side[0] += 1
        side[1] += abs(entry.signed_minor)
        if self.wrong is None:
            if entry.problem:
                self.wrong = ("entry_differs", f"entry {self.entries}: {entry.problem}")
            elif self.currency and entry.currency != self.currency:
                self.wrong = ("currency_differs", f"entry {self.entries} is in {entry.currency}, the account in {self.currency}")
        for one in entry.transactions:
            self.last_entry_day = max(one.day, self.last_entry_day or one.day)
            if entry.status == "booked":
                self.last_booked_day = max(one.day, self.last_booked_day or one.day)
            self.first_entry_day = min(one.day, self.first_entry_day or one.day)
            if one.value_date is not None and one.value_date != one.day and abs(one.value_date - one.day) > VALUE_APART:
                # the money is there and proved by the balances: it counts from its booking day, as where no value date is given
                entry.remarks.append(f"the value date {one.value_date} is more than a year from the booking day: left out")
                one.value_date = None
        return entry

    def settle_days(self) -> None:
        """After the last entry: days that the file does not state are those of its entries."""
        self.last_day = self.last_day or self.last_entry_day
        self.first_day = self.first_day or min((day for day in (self.first_entry_day, self.last_day) if day), default=None)
        if self.first_day and self.last_day and self.first_day > self.last_day:
            self.first_day = self.last_day

    @property
    def balanced(self) -> bool | None:
        """Whether opening balance and entries make the closing balance; None where one of the two is missing."""
        if self.opening_minor is None or self.closing_minor is None:
            return None
        return self.opening_minor + self.booked_minor == self.closing_minor

    def verdict(self) -> tuple[str, str] | None:
        """Why this does not add up, as a code and a sentence; None when it does. Call it after the last entry.

        Balances must be there in a statement and must agree wherever they are; counts and sums hold where they are stated.
        """
        if self.problem:
            return "unreadable", self.problem
        if self.wrong:
            return self.wrong
        return self._days() or self._counts() or self._balances()

    def _days(self) -> tuple[str, str] | None:
        said = (("an entry is of", self.first_entry_day), ("an entry is of", self.last_entry_day))
        for what, day in (*said, ("it begins on", self.first_day), ("it ends on", self.last_day)):
            if day is not None and not FIRST_DAY <= day <= LAST_DAY:
                return "day_absurd", f"{what} {day}: no bank books before {FIRST_DAY} or after {LAST_DAY}"
        return None

    def _counts(self) -> tuple[str, str] | None:
        if self.stated_entries is not None and self.stated_entries != self.entries:
            return "count_differs", f"{self.stated_entries} entries stated, {self.entries} found"
        if self.stated_sum_minor is not None and self.stated_sum_minor != self.credits[1] + self.debits[1]:
            return "sum_differs", "the stated sum of the entries is not what they sum to"
        for name, (count, total), found in (("credit", self.stated_credit, self.credits), ("debit", self.stated_debit, self.debits)):
            if count is not None and count != found[0]:
                return "count_differs", f"{count} {name} entries stated, {found[0]} found"
            if total is not None and total != found[1]:
                return "sum_differs", f"{name} entries of {total} minor units stated, {found[1]} found"
        return None

    def _balances(self) -> tuple[str, str] | None:
        if self.kind in MUST_BALANCE and (self.opening_minor is None or self.closing_minor is None):
            return "balance_missing", "the opening or closing balance is missing"
        if self.balanced is False:
            found = (self.opening_minor or 0) + self.booked_minor
            return "balance_differs", f"opening and entries make {found} minor units, the closing balance says {self.closing_minor}"
        return None


CurrencyOf = Callable[[str], str | None]
"""The currency of an account of ours by what a file calls it; None where it is none of ours."""

Item = tuple[Statement, Entry | None]
"""What a reader yields: each entry with its statement, then the statement alone when it is complete."""


class Ordinals:
    """Keys of the transactions of one statement: the identity and, from the second equal one on, an ordinal."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def key(self, transaction: Transaction) -> str:
        """The key of the next transaction of the statement."""
        base = transaction.identity()
        self._seen[base] += 1
        return base if self._seen[base] == 1 else f"{base}#{self._seen[base]}"


LOCAL_MIN = 6
"""Digits that a local account number must have to name an IBAN of ours."""


def is_local_number(number: str, iban: str) -> bool:
    """Whether an account number as banks write it beside IBANs is that of an IBAN: `37040044/532013000`, `1291.99.348`.

    The number is the end of the IBAN (French keys aside), leading zeros aside, and a bank code before it is in the IBAN too.
    """
    bank, _, local = number.rpartition("/")
    digits = "".join(char for char in local if char.isalnum()).lstrip("0")
    if len(digits) < LOCAL_MIN or (bank.isdecimal() and bank not in iban):
        return False
    ends = iban[:-2] if iban.startswith("FR") else iban
    return ends.endswith(digits)


def numbered(transactions: Iterable[Transaction]) -> Iterator[tuple[str, Transaction]]:
    """Each transaction of one statement with its key."""
    ordinals = Ordinals()
    for transaction in transactions:
        yield ordinals.key(transaction), transaction
