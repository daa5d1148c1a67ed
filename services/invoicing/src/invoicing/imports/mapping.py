"""A mapping: how a source writes its files, and which column is which field. Written once, versioned, never guessed at.

It is the body of POST /v1/import-mappings/{name} and, word for word, what is stored.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, JsonValue, model_validator
from shared.web.models import Command, Lax

from invoicing.domain.cells import NumberFormat, check_date_form
from invoicing.imports import fields

Encoding = Literal["utf-8", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1250", "windows-1252"]
Cell = Annotated[str, Field(min_length=1, max_length=255)]
EXAMPLE: dict[str, JsonValue] = {
    "kind": "invoices",
    "source_system": "sap",
    "file": {"encoding": "windows-1252", "separator": ";"},
    "numbers": {"decimal": ",", "thousands": ".", "negative": "trailing"},
    "dates": ["DD.MM.YYYY"],
    "signs": "signed",
    "fields": {
        "entity_id": {"column": "Company code", "values": {"1000": "bc36259d-cbc5-5622-87a8-b1570bfe1932"}},
        "invoice_number": {"column": "Document no."},
        "kind": {"column": "Doc. type", "values": {"RV": "invoice", "RG": "credit_note", "RA": "deposit"}},
        "customer_number": {"column": "Customer"},
        "issue_date": {"column": "Doc. date"},
        "due_date": {"column": "Net due date"},
        "currency": {"column": "Crcy", "default": "EUR"},
        "total": {"column": "Gross amount"},
        "tax": {"column": "Tax amount"},
    },
}


def _date_form(form: str) -> str:
    check_date_form(form)
    return form


DateForms = Annotated[tuple[Annotated[str, Field(max_length=20), AfterValidator(_date_form)], ...], Lax, Field(min_length=1, max_length=4)]


class FileForm(Command):
    """How the file is written. `separator` to `skip_lines` are of CSV, `sheet` and `formulas` of XLSX.

    Without a header, columns are named by their place, the first being 1. A spreadsheet's formula is refused, or its value
    as last computed is taken (`cached`); without a sheet's name the file must have one sheet.
    """

    encoding: Encoding = "utf-8"
    separator: Literal[",", ";", "\t", "|"] = ","
    quote: Literal['"', "'", ""] = '"'
    header: bool = True
    skip_lines: Annotated[int, Field(ge=0, le=100, description="Lines before the header")] = 0
    sheet: Annotated[str, Field(min_length=1, max_length=31)] | None = None
    formulas: Literal["refused", "cached"] = "refused"


class NumberForm(Command):
    """How amounts are written: 1.234,50- is decimal `,`, thousands `.`, negative `trailing`. `minor`: 123450 is 1234.50."""

    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    negative: Literal["leading", "trailing", "parentheses"] = "leading"
    unit: Literal["major", "minor"] = "major"

    @model_validator(mode="after")
    def _apart(self) -> Self:
        self.form()
        return self

    def form(self) -> NumberFormat:
        """As `domain.cells` takes it. Raises ValueError where the two separators are the same."""
        return NumberFormat(self.decimal, self.thousands, self.negative)


class FieldSource(Command):
    """Where a field comes from: a column, by its header or its place, or a constant.

    `default` stands for an empty cell. `values` translates what the cell says; a text that it does not list is refused.
    `dates` and `numbers` replace the mapping's own for this field.
    """

    column: Annotated[int, Field(ge=1, le=1000)] | Cell | None = None
    constant: Cell | None = None
    default: Cell | None = None
    values: Annotated[dict[Cell, Annotated[str, Field(max_length=255)]], Field(min_length=1, max_length=1000)] | None = None
    dates: DateForms | None = None
    numbers: NumberForm | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (self.constant is None):
            raise ValueError("either a column or a constant fills a field")
        if self.constant is not None and (self.default is not None or self.values is not None):
            raise ValueError("a constant has neither default nor values")
        return self


class Mapping(Command):
    """How one source writes its invoices or customers.

    `rows`: each row is a whole (`one`); or rows that follow one another with the same number are one invoice, of which each
    row is an instalment (`instalment`) or a line whose amounts are added up (`line`; of a customer: one more contact).
    `signs`: amounts are never negative and `kind` gives the direction (`unsigned`); or a credit note is what is negative
    (`signed`), and where `kind` is given too it must agree.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    kind: Literal["invoices", "customers"]
    source_system: Annotated[str, Field(pattern="^[a-z0-9_.-]{1,64}$")]
    file: FileForm = FileForm()
    numbers: NumberForm = NumberForm()
    dates: DateForms = ("YYYY-MM-DD",)
    signs: Literal["unsigned", "signed"] = "unsigned"
    rows: Literal["one", "instalment", "line"] = "one"
    fields: Annotated[dict[Annotated[str, Field(max_length=64)], FieldSource], Field(min_length=1, max_length=60)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        known = fields.INVOICE if self.kind == "invoices" else fields.CUSTOMER
        if unknown := [name for name in self.fields if fields.base_of(name) not in known]:
            raise ValueError(f"{unknown[0]!r} is no field of {self.kind}: {', '.join(known)}")
        if missing := [name for name in fields.NEEDED[self.kind] if name not in self.fields]:
            raise ValueError(f"{self.kind} need the fields {', '.join(missing)}")
        if self.kind == "invoices":
            self._of_invoices()
        elif self.rows == "instalment":
            raise ValueError("customers have no instalments")
        named = [name for name, source in self.fields.items() if isinstance(source.column, str)]
        if named and not self.file.header:
            raise ValueError(f"without a header a column is named by its place: {named[0]}")
        return self

    def _of_invoices(self) -> None:
        if not {"invoice_number", "entity_id"} <= set(self.fields):
            raise ValueError("invoices need the fields invoice_number and entity_id (a constant where there is one seller)")
        if not ({"total", "payable"} & set(self.fields) or {"net", "tax"} <= set(self.fields)):
            raise ValueError("invoices need an amount: total, or net and tax, or payable")
        parts = {"instalment_due_date", "instalment_amount"} & set(self.fields)
        if (self.rows == "instalment") != (len(parts) == 2) or (parts and len(parts) != 2):  # noqa: PLR2004 - both of them
            raise ValueError("instalment_due_date and instalment_amount go with rows: instalment, and it with them")
        if parts and "due_date" in self.fields:
            raise ValueError("either instalments or due_date says when it is due")
        if ("discount_until" in self.fields) != ("discount_percent" in self.fields):
            raise ValueError("a discount has both discount_until and discount_percent")

    def stored(self) -> dict[str, Any]:
        """As JSON holds it: what is said, without defaults."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"kind": self.kind}
