"""Rows of a table to drafts of invoices, by a mapping. Strict: what is not exactly as declared is a fault of its row.

Invariant: every row ends in a draft or in faults, and carries the amount it stands for wherever that can be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from contracts.invoices import DiscountTerm, Instalment, InvoiceKind, Origin
from shared.money import exponent
from shared.web.models import CURRENCIES, parse_id
from stdnum import iban

from invoicing.domain.cells import PLAIN, CellError, NumberFormat, parse_amount, parse_date, shown
from invoicing.drafts import Buyer, Draft, is_plausible
from invoicing.imports.cells import CODE, NUMBER, TEXT, clean, integer
from invoicing.imports.fields import INVOICE, OF_LINES, OF_ROWS, base_of
from invoicing.imports.records import Fault, NativeDate, NativeNumber, Record
from invoicing.imports.slices import Group
from invoicing.imports.table import Table

_KINDS: dict[str, InvoiceKind] = {"invoice": "invoice", "credit_note": "credit_note", "deposit": "deposit"}
_LENGTHS = {
    "source_id": NUMBER,
    "invoice_number": NUMBER,
    "customer_number": NUMBER,
    "reference": NUMBER,
    "order_number": NUMBER,
    "preceding_invoice": NUMBER,
    "payment_reference": 140,
    "payment_account": 140,
    "means_of_payment": 35,
    "customer_vat_id": 20,
    "kind": CODE,
}
_INSTALMENTS_MAX = 120
_LISTED_MAX = 30
_VERSION_MAX = 2**31 - 1


class Taken(NamedTuple):
    """What a group of rows says: a draft, or why there is none. `amount` is signed, a credit note's negative, in minor units
    of `currency`; both None where they cannot be read.
    """

    line: int
    draft: Draft | None
    faults: tuple[Fault, ...]
    currency: str | None
    amount: int | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are taken: the table, and the import's mode. In mode `opening` nothing lies after `as_of`."""

    table: Table
    mode: Origin
    as_of: date | None = None
    shared: frozenset[str] = field(init=False)
    """Fields that all rows of one invoice say alike."""

    def __post_init__(self) -> None:
        rows = self.table.mapping.rows
        own = OF_ROWS | (OF_LINES if rows == "line" else frozenset())
        names = [] if rows == "one" else [name for name in self.table.columns if base_of(name) not in own]
        object.__setattr__(self, "shared", frozenset(names))

    def take(self, group: Group) -> Taken:
        """Reads the rows of one invoice."""
        first = group.records[0]
        fault = group.fault or self.table.fault(first)
        if fault is not None:
            return Taken(first.line, None, (fault,), None, None)
        return _Invoice(self, group.records).taken()


class _Invoice:
    """One invoice being read: collects faults as it goes, so that a row tells all that is wrong with it."""

    __slots__ = ("amount", "currency", "faults", "places", "reading", "records", "table")

    def __init__(self, reading: Reading, records: Sequence[Record]) -> None:
        self.reading, self.table, self.records = reading, reading.table, records
        self.faults: list[Fault] = []
        self.places = 0
        self.currency: str | None = None
        self.amount: int | None = None

    def taken(self) -> Taken:
        draft = self._draft()
        return Taken(self.records[0].line, None if self.faults else draft, tuple(dict.fromkeys(self.faults)), self.currency, self.amount)

    # --- single cells -------------------------------------------------------------------------------------------------
    def fault(self, name: str, rule: str, detail: str) -> None:
        self.faults.append(Fault(self.table.label(name), rule, detail))

    def raw(self, name: str, record: Record | None = None) -> str | None:
        """The cell's text; None where the field is not mapped or empty, or its value is none that the mapping translates."""
        column = self.table.columns.get(name)
        if column is None:
            return None
        text = column.text((record or self.records[0]).cells)
        if text is None:
            self.fault(name, "value-unknown", "is none of the values that the mapping translates")
        return text or None

    def text(self, name: str, record: Record | None = None) -> str | None:
        raw = self.raw(name, record)
        if raw is None:
            return None
        try:
            return clean(raw, _LENGTHS.get(base_of(name), TEXT))
        except CellError as error:
            self.fault(name, error.rule, error.detail)
            return None

    def needed(self, name: str) -> str:
        text, before = None, len(self.faults)
        text = self.text(name)
        if text is None and len(self.faults) == before:
            self.fault(name, "empty", "is empty and must not be")
        return text or ""

    def day(self, name: str, record: Record | None = None) -> date | None:
        raw = self.raw(name, record)
        if raw is None:
            return None
        forms = ("YYYY-MM-DD",) if isinstance(raw, NativeDate) else self.table.mapping.fields[name].dates or self.table.mapping.dates
        try:
            day = parse_date(raw, forms)
        except CellError as error:
            self.fault(name, error.rule, error.detail)
            return None
        if not is_plausible(day):
            self.fault(name, "date-range", f"is not between 1900 and 2200: {shown(raw)}")
            return None
        if self.reading.as_of is not None and day > self.reading.as_of and name in {"issue_date", "last_reminder_on", "paid_on"}:
            self.fault(name, "after-as-of", f"is after the day of the take-over, {self.reading.as_of.isoformat()}")
        return day

    def amount_of(self, name: str, record: Record | None = None) -> int | None:
        raw = self.raw(name, record)
        if raw is None:
            return None
        said = self.table.mapping.fields[name].numbers or self.table.mapping.numbers
        form: NumberFormat = PLAIN if isinstance(raw, NativeNumber) else said.form()
        try:
            return parse_amount(raw, form, self.places if said.unit == "major" else 0)
        except CellError as error:
            self.fault(name, error.rule, error.detail)
            return None

    def sum_of(self, name: str) -> int | None:
        """An amount of the whole: of the first row, or added up over the lines."""
        if self.table.mapping.rows != "line" or name not in self.table.columns:
            return self.amount_of(name)
        parts = [self.amount_of(name, record) for record in self.records]
        found = [part for part in parts if part is not None]
        return sum(found) if found else None

    def number(self, name: str, low: int, high: int) -> int | None:
        raw = self.raw(name)
        if raw is None:
            return None
        try:
            return integer(raw, low, high)
        except CellError as error:
            self.fault(name, error.rule, error.detail)
            return None

    def listed(self, base: str) -> tuple[str, ...]:
        """What several columns and rows say of one field, each text once."""
        names = [name for name in self.table.columns if base_of(name) == base]
        rows = self.records if self.table.mapping.rows != "one" else self.records[:1]
        said = dict.fromkeys(text for record in rows for name in names if (text := self.text(name, record)) is not None)
        if len(said) > _LISTED_MAX:
            self.fault(base, "too-many", f"more than {_LISTED_MAX} are given")
        return tuple(said)

    # --- the whole ----------------------------------------------------------------------------------------------------
    def _draft(self) -> Draft | None:
        self._same_in_all_rows()
        self.currency = self._currency()
        sums = self._sums() if self.currency is not None else None
        number = self.needed("invoice_number")
        rest: dict[str, Any] = {
            "entity_id": self._entity(),
            "source_id": (self.text("source_id") if "source_id" in self.table.columns else None) or number,
            "source_version": self.number("source_version", 1, _VERSION_MAX) or 1,
            "invoice_number": number,
            "buyer": self._buyer(),
            "issue_date": self._issue_date(),
            "due_date": self.day("due_date"),
            "payment_reference": self.text("payment_reference"),
            "payment_account": _account(self.text("payment_account")),
            "payee_name": self.text("payee_name"),
            "means_of_payment": self.text("means_of_payment"),
            "references": self.listed("reference"),
            "order_numbers": self.listed("order_number"),
            "preceding": self.listed("preceding_invoice"),
            "discounts": self._discounts(),
            **self._of_mode(),
        }
        if self.faults or sums is None or self.currency is None:
            return None
        return Draft(source_system=self.table.mapping.source_system, origin=self.reading.mode, currency=self.currency, **sums, **rest)

    def _same_in_all_rows(self) -> None:
        """Rows of one invoice that say different things of the whole are refused: none of them is believed."""
        first = self.records[0]
        for record in self.records[1:]:
            for name in self.reading.shared:
                column = self.table.columns[name]
                if column.text(record.cells) != column.text(first.cells):
                    self.fault(name, "rows-differ", f"line {record.line} says something else than line {first.line} of the same invoice")
                    return

    def _currency(self) -> str | None:
        code = self.needed("currency")
        if not code:
            return None
        if code not in CURRENCIES:
            self.fault("currency", "currency", f"is no current ISO 4217 code: {shown(code)}")
            return None
        self.places = exponent(code)
        return code

    def _sums(self) -> dict[str, Any] | None:
        """Kind and amounts, their signs turned to what kind says; and `self.amount`, for the control sums."""
        before = len(self.faults)
        tax, prepaid = self.sum_of("tax"), self.sum_of("prepaid") or 0
        total, payable, net = self.sum_of("total"), self.sum_of("payable"), self.sum_of("net")
        parts = self._instalments()
        still_open = self.sum_of("open")
        if total is None and net is not None:
            total = net + (tax or 0)
        if total is None and payable is not None:
            total = payable + prepaid
        if total is None:
            if len(self.faults) == before:
                self.fault(
                    next(name for name in ("total", "net", "payable") if name in self.table.columns), "empty", "is empty and must not be"
                )
            return None
        payable = total - prepaid if payable is None else payable
        kind, sign = self._kind(payable or total)
        counted = still_open if self.reading.mode == "opening" and still_open is not None else payable
        direction = -1 if kind == "credit_note" and self.table.mapping.signs == "unsigned" else 1
        if len(self.faults) == before:
            self.amount = counted * direction
        values = {"total": total, "tax": tax or 0, "prepaid": prepaid, "payable": payable}
        for name, value in (("total", total), ("net", total), ("payable", payable), ("open", still_open or 0)):
            if value * sign < 0 and name in self.table.columns:
                self.fault(name, "amount-sign", f"has not the sign that a document of kind {kind} has")
        instalments = tuple(Instalment(number=n, due_date=day, amount_minor=amount * sign) for n, (day, amount) in enumerate(parts, 1))
        opened = still_open * sign if still_open is not None and self.reading.mode == "opening" else None
        return {
            "kind": kind,
            **{f"{name}_minor": value * sign for name, value in values.items()},
            "instalments": instalments,
            "opening_open_minor": opened,
        }

    def _kind(self, amount: int) -> tuple[InvoiceKind, int]:
        """The kind of document and the factor that makes its amounts positive."""
        said, given = self.text("kind"), _KINDS["invoice"]
        if said is not None:
            if said not in _KINDS:
                self.fault("kind", "kind", f"is none of invoice, credit_note, deposit: {shown(said)}")
            given = _KINDS.get(said, "invoice")
        if self.table.mapping.signs == "unsigned":
            return given, 1
        if amount < 0 and said is None:
            return "credit_note", -1
        return given, -1 if given == "credit_note" else 1

    def _instalments(self) -> list[tuple[date, int]]:
        if self.table.mapping.rows != "instalment":
            return []
        if len(self.records) > _INSTALMENTS_MAX:
            self.fault("instalment_amount", "too-many", f"more than {_INSTALMENTS_MAX} instalments")
        parts = []
        for record in self.records:
            day, amount = self.day("instalment_due_date", record), self.amount_of("instalment_amount", record)
            if day is not None and amount is not None and amount != 0:
                parts.append((day, amount))
            elif not self.faults:
                self.fault("instalment_amount", "empty", f"line {record.line}: an instalment has a due date and an amount")
        return sorted(parts)

    def _entity(self) -> UUID:
        text = self.needed("entity_id")
        try:
            return parse_id(text)
        except ValueError:
            if text:
                self.fault("entity_id", "entity-form", "is no id of a legal entity: translate the source's own code with `values`")
            return UUID(int=0)

    def _issue_date(self) -> date:
        before = len(self.faults)
        day = self.day("issue_date")
        if day is None and len(self.faults) == before:
            self.fault("issue_date", "empty", "is empty and must not be")
        return day or date.min

    def _buyer(self) -> Buyer:
        country, vat = self.text("customer_country"), self.text("customer_vat_id")
        if country is not None and not (len(country) == 2 and country.isascii() and country.isalpha() and country.isupper()):  # noqa: PLR2004 - ISO 3166
            self.fault("customer_country", "country", f"is no ISO 3166 code of two capitals: {shown(country)}")
        return Buyer(
            numbers=(self.needed("customer_number"),),
            company_ids=(("vat", vat),) if vat else (),
            name=self.text("customer_name"),
            country=country,
        )

    def _discounts(self) -> tuple[DiscountTerm, ...]:
        if "discount_until" not in self.table.columns:
            return ()
        until, percent = self.day("discount_until"), self._percent("discount_percent")
        if until is None or percent is None:
            if (until is None) != (percent is None) and not self.faults:
                self.fault("discount_until", "empty", "a discount has both a day and a percentage")
            return ()
        return (DiscountTerm(until=until, percent_bp=percent),) if percent else ()

    def _percent(self, name: str) -> int | None:
        """Hundredths of a percent."""
        raw = self.raw(name)
        if raw is None:
            return None
        said = self.table.mapping.fields[name].numbers or self.table.mapping.numbers
        try:
            percent = parse_amount(raw, PLAIN if isinstance(raw, NativeNumber) else said.form(), 2)
        except CellError as error:
            self.fault(name, error.rule, error.detail)
            return None
        if not 0 <= percent <= 10_000:  # noqa: PLR2004 - basis points of a whole
            self.fault(name, "percent-range", f"is not between 0 and 100: {shown(raw)}")
            return None
        return percent

    def _of_mode(self) -> dict[str, Any]:
        """What only a take-over says. `open` is among the sums; a field that the mode has no use for is not read."""
        if self.reading.mode == "history":
            day = self.day("paid_on")
            if day is None and not self.faults:
                self.fault("paid_on", "empty", "an invoice of mode history says when it was paid")
            return {"paid_on": day}
        if self.reading.mode == "opening":
            if self.raw("open") is None and not self.faults:
                self.fault("open", "empty", "an invoice of mode opening says what of it is still open")
            return {"reminder_level": self.number("reminder_level", 0, 99), "last_reminder_on": self.day("last_reminder_on")}
        return {}


def _account(printed: str | None) -> str | None:
    """An account as printed; an IBAN without its spaces, so that it compares."""
    if printed is None:
        return None
    compact: str = iban.compact(printed)
    return compact if iban.is_valid(compact) else printed


assert set(_LENGTHS) <= set(INVOICE)  # noqa: S101 - a misspelt field would lose its bound
