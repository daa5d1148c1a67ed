"""The body of POST /v1/invoices, and what is answered."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from contracts.invoices import DiscountTerm, Instalment
from pydantic import BaseModel, ConfigDict, Field, JsonValue, SkipValidation, model_validator
from shared.web.models import AmountMinor, Command, CurrencyCode, Date, Id, Lax, NotNegativeMinor, PositiveMinor, Text

from invoicing.api.edge import Number, SourceSystem
from invoicing.drafts import Buyer, Draft, is_plausible
from invoicing.einvoices.booking import account
from invoicing.handlers.crediting import Asked
from invoicing.handlers.invoices import Outcome
from invoicing.storage.invoices import Kept

EXAMPLE: dict[str, JsonValue] = {
    "entity_id": "bc36259d-cbc5-5622-87a8-b1570bfe1932",
    "source_system": "sap",
    "source_id": "RE-2026-004711",
    "source_version": 1,
    "invoice_number": "2026-004711",
    "kind": "invoice",
    "origin": "issued",
    "customer_number": "100217",
    "issue_date": "2026-03-05",
    "currency": "EUR",
    "total_minor": 120000,
    "tax_minor": 20000,
    "prepaid_minor": 30000,
    "payable_minor": 90000,
    "instalments": [
        {"number": 1, "due_date": "2026-04-04", "amount_minor": 45000},
        {"number": 2, "due_date": "2026-05-04", "amount_minor": 45000},
    ],
    "order_numbers": ["PO-55410"],
    "discounts": [{"until": "2026-03-15", "percent_bp": 200}],
}


ANSWER: dict[str, JsonValue] = {
    **EXAMPLE,
    "invoice_id": "9709d039-6a4d-53f2-81fc-f10cebe495cc",
    "version": 1,
    "status": "issued",
    "customer_id": "ec8c3f77-c9c2-5217-a19c-c19e352c07cc",
    "payment_reference": "RF712026004711K3QZ7H2M",
    "references": [],
    "deposit_invoice_ids": ["1f0f2f6e-6f0e-5d0b-8c11-6a5c2d2b7a10"],
    "documents": [],
    "open_minor": 90000,
    "disputed_minor": 0,
    "item_status": "open",
    "warnings": [{"code": "deposit-unpaid", "detail": "a deposit that is deducted has not been paid in full"}],
    **dict.fromkeys(
        (
            "payment_account",
            "payee_name",
            "means_of_payment",
            "credited_invoice_id",
            "replaces_invoice_id",
            "credit_check_id",
            "opening_open_minor",
            "reminder_level",
            "last_reminder_on",
            "paid_on",
            "cancel_reason",
            "close_cause",
            "value_date",
        )
    ),
}
"""The invoice of EXAMPLE as it is answered."""


def shown(example: JsonValue) -> ConfigDict:
    """A model's one example in the OpenAPI document."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class InstalmentCommand(Command):
    """A part of what is payable, with its own due date."""

    number: Annotated[int, Field(ge=1, le=120)]
    due_date: Date
    amount_minor: PositiveMinor


class DiscountCommand(Command):
    """A discount for paying by `until`, in hundredths of a percent of what is payable."""

    until: Date
    percent_bp: Annotated[int, Field(ge=1, le=10_000)]


References = Annotated[tuple[Number, ...], Lax, Field(max_length=30)]


class InvoiceCommand(Command):
    """An invoice, deposit invoice or credit note. Amounts are positive, `kind` gives the direction.

    payable = total - prepaid, and the instalments add up to payable. Without instalments all is due on `due_date`; without
    that, after the customer's payment terms. A `payment_reference` is kept; where there is none, an ISO 11649 one is made.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    entity_id: Id
    source_system: SourceSystem
    source_id: Number
    source_version: Annotated[int, Field(ge=1, le=2**31 - 1, description="The source's own version: a higher one is a change")]
    invoice_number: Number
    kind: Literal["invoice", "credit_note", "deposit"] = "invoice"
    origin: Literal["issued", "opening", "history"] = "issued"
    customer_number: Number | None = None
    customer_id: Id | None = None
    issue_date: Date
    currency: CurrencyCode
    total_minor: NotNegativeMinor
    tax_minor: AmountMinor = 0
    prepaid_minor: AmountMinor = 0
    payable_minor: NotNegativeMinor
    instalments: Annotated[tuple[InstalmentCommand, ...], Lax, Field(max_length=120)] = ()
    due_date: Date | None = None
    payment_reference: Annotated[Text, Field(max_length=140)] | None = None
    payment_account: Annotated[Text, Field(max_length=140)] | None = None
    payee_name: Text | None = None
    means_of_payment: Annotated[Text, Field(max_length=35)] | None = None
    references: References = ()
    order_numbers: References = ()
    discounts: Annotated[tuple[DiscountCommand, ...], Lax, Field(max_length=10)] = ()
    deposit_invoice_ids: Annotated[tuple[Id, ...], Lax, Field(max_length=50)] = ()
    credited_invoice_id: Id | None = None
    replaces_invoice_id: Annotated[Id | None, Field(description="The invoice that this one corrects: it is cancelled")] = None
    credit_check_id: Id | None = None
    opening_open_minor: NotNegativeMinor | None = None
    reminder_level: Annotated[int, Field(ge=0, le=99)] | None = None
    last_reminder_on: Date | None = None
    paid_on: Date | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.customer_number is None) == (self.customer_id is None):
            raise ValueError("either customer_number or customer_id names the buyer")
        if not is_plausible(self.issue_date):
            raise ValueError("issue_date is not between 1900 and 2200")
        if self.instalments and self.due_date is not None:
            raise ValueError("either instalments or due_date says when it is due")
        if self.credited_invoice_id is not None and self.kind != "credit_note":
            raise ValueError("only a credit note credits an invoice")
        if self.replaces_invoice_id is not None and self.kind == "credit_note":
            raise ValueError("a credit note credits an invoice, it replaces none")
        if self.paid_on is not None and self.origin != "history":
            raise ValueError("only an invoice of origin history says when it was paid")
        return self

    def draft(self) -> Draft:
        """As the handlers take it."""
        values = {name: getattr(self, name) for name in _AS_IT_IS}
        return Draft(
            **values,
            buyer=Buyer(customer_id=self.customer_id, numbers=() if self.customer_number is None else (self.customer_number,)),
            payment_account=account(self.payment_account),
            instalments=tuple(
                Instalment(number=each.number, due_date=each.due_date, amount_minor=each.amount_minor) for each in self.instalments
            ),
            discounts=tuple(DiscountTerm(until=each.until, percent_bp=each.percent_bp) for each in self.discounts),
        )


_AS_IT_IS = tuple(
    name
    for name in InvoiceCommand.model_fields
    if name in Draft.__struct_fields__ and name not in {"payment_account", "instalments", "discounts"}
)


class BatchCommand(Command):
    """Up to 1,000 invoices, each judged by itself: one that does not fit its schema does not spoil the others."""

    model_config = shown({"invoices": [EXAMPLE]})

    invoices: Annotated[list[SkipValidation[InvoiceCommand]], Field(min_length=1, max_length=1000)]


class CancelCommand(Command):
    """Why an invoice is withdrawn."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "billed twice"}]})

    reason: Text


class CreditCommand(Command):
    """A credit note for an invoice. Without amounts it credits the whole total; with them, tax is part of the total."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"invoice_number": "AV-2026-0042", "issue_date": "2026-04-02", "total_minor": 60000, "tax_minor": 10000}]
        }
    )

    invoice_number: Annotated[Number, Field(description="The credit note's own number; its source id, unless that is given")]
    source_id: Number | None = None
    issue_date: Date
    total_minor: PositiveMinor | None = None
    tax_minor: NotNegativeMinor | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.total_minor is None) != (self.tax_minor is None):
            raise ValueError("total_minor and tax_minor are given together, or the whole invoice is credited")
        if not is_plausible(self.issue_date):
            raise ValueError("issue_date is not between 1900 and 2200")
        return self

    def asked(self) -> Asked:
        """As the handlers take it."""
        return Asked(
            invoice_number=self.invoice_number,
            source_id=self.source_id or self.invoice_number,
            issue_date=self.issue_date,
            total_minor=self.total_minor,
            tax_minor=self.tax_minor,
        )


class Warned(BaseModel):
    """Something the sender should know of an invoice that was taken."""

    code: str
    detail: str


class CheckAnswer(BaseModel):
    """What an invoice would become, and what its sender should know of it."""

    model_config = shown({"would_be": "created", "warnings": ANSWER["warnings"]})

    would_be: Literal["created", "changed", "unchanged", "refused"]
    warnings: list[Warned]


class InvoiceView(BaseModel):
    """An invoice as it is kept, and what matching says is open of it (null before it has said anything)."""

    model_config = shown(ANSWER)

    invoice_id: UUID
    entity_id: UUID
    version: int
    source_system: str
    source_id: str
    source_version: int
    invoice_number: str
    kind: str
    origin: str
    status: str
    customer_id: UUID
    customer_number: str
    issue_date: date
    currency: str
    total_minor: int
    tax_minor: int
    prepaid_minor: int
    payable_minor: int
    instalments: list[dict[str, Any]]
    payment_reference: str | None
    payment_account: str | None
    payee_name: str | None
    means_of_payment: str | None
    references: list[str]
    order_numbers: list[str]
    discounts: list[dict[str, Any]]
    deposit_invoice_ids: list[UUID]
    credited_invoice_id: UUID | None
    replaces_invoice_id: UUID | None
    credit_check_id: UUID | None
    opening_open_minor: int | None
    reminder_level: int | None
    last_reminder_on: date | None
    paid_on: date | None
    documents: list[dict[str, str]]
    cancel_reason: str | None = None
    open_minor: int | None = None
    disputed_minor: int | None = None
    item_status: str | None = None
    close_cause: str | None = None
    value_date: date | None = None
    warnings: list[Warned] = []


class InvoicePage(BaseModel):
    """A page of invoices."""

    model_config = shown({"items": [ANSWER], "next_cursor": None})

    items: list[InvoiceView]
    next_cursor: str | None


class BatchResult(BaseModel):
    """What became of one invoice of a batch. `problem` is an RFC 9457 problem."""

    index: int
    status: Literal["created", "changed", "unchanged", "refused"]
    invoice_id: UUID | None = None
    version: int | None = None
    payment_reference: str | None = None
    warnings: list[Warned] = []
    problem: dict[str, Any] | None = None


class BatchAnswer(BaseModel):
    """One result per invoice, in order."""

    model_config = shown(
        {
            "results": [
                {
                    "index": 0,
                    "status": "created",
                    "invoice_id": ANSWER["invoice_id"],
                    "version": 1,
                    "payment_reference": ANSWER["payment_reference"],
                }
            ]
        }
    )

    results: list[BatchResult]


def view(kept: Kept, balance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The members of an InvoiceView, JSON-ready."""
    said: dict[str, Any] = msgspec.to_builtins(kept.state)
    del said["event"]
    said |= {"entity_id": str(kept.entity_id), "cancel_reason": kept.cancel_reason}
    said |= {name: msgspec.to_builtins((balance or {}).get(name)) for name in _BALANCE}
    said["warnings"] = [{"code": code, "detail": detail} for code, detail in kept.warnings]
    return said


_BALANCE = ("open_minor", "disputed_minor", "item_status", "close_cause", "value_date")


def result(index: int, outcome: Outcome, problem: Mapping[str, Any] | None) -> dict[str, Any]:
    """The members of a BatchResult that are set."""
    answer: dict[str, Any] = {"index": index, "status": outcome.status}
    if outcome.kept is not None:
        state = outcome.kept.state
        answer |= {"invoice_id": str(state.invoice_id), "version": state.version, "payment_reference": state.payment_reference}
    if outcome.warnings:
        answer["warnings"] = [{"code": code, "detail": detail} for code, detail in outcome.warnings]
    if problem is not None:
        answer["problem"] = dict(problem)
    return answer
