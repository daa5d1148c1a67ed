"""Customers as master data: PUT /v1/customers/{source_system}/{customer_number}, GET /v1/customers, and what they were."""

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from contracts.customers import Address, Contact, CustomerChanged, CustomerIdentityChanged, RoleAddress
from contracts.fields import CompanyId
from fastapi import Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, JsonValue, model_validator
from shared.ids import named_id
from shared.web.auth import Caller, requires
from shared.web.etag import etag
from shared.web.models import Command, CurrencyCode, Id, Lax, Line, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy import Row
from stdnum import iban

from invoicing.api.commands import shown
from invoicing.api.edge import CodeText, Country, Number, RegisterNumber, SourceSystem, matches, problem_of, runtime_of
from invoicing.drafts import identifier
from invoicing.einvoices.checks import company_id_fault
from invoicing.handlers import customers as handlers
from invoicing.handlers.refusals import Refusal
from invoicing.storage import customers as storage
from invoicing.storage.rows import as_dict

ROUTER = Router(prefix="/v1/customers", tags=["customers"])
_LIKE, _ESCAPED = re.compile(r"([\\%_])"), r"\\\1"
Language = Annotated[str, Field(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", examples=["fr"])]


def _iban(text: str) -> str:
    compact: str = iban.compact(text)
    if not iban.is_valid(compact):
        raise ValueError("is no IBAN with right check digits")
    return compact


Iban = Annotated[str, Field(max_length=42), Line, AfterValidator(_iban)]


EXAMPLE: dict[str, JsonValue] = {
    "name": "Boulangerie Kervella SARL",
    "company_ids": [{"scheme": "0002", "value": "552100554"}],
    "vat_id": "FR83404833048",
    "country": "FR",
    "language": "fr",
    "currency": "EUR",
    "payment_terms_days": 30,
    "requires_order_number": True,
    "address": {"lines": ["1 quai du Commerce"], "postcode": "29200", "city": "Brest", "country": "FR"},
    "addresses": [{"role": "billing", "lines": ["BP 12"], "postcode": "29200", "city": "Brest", "country": "FR"}],
    "contacts": [{"role": "billing", "email": "compta@kervella.example", "consent": True}],
    "known_ibans": ["FR7630006000011234567890189"],
}
ANSWER: dict[str, JsonValue] = {
    **{name: value for name, value in EXAMPLE.items() if name != "vat_id"},
    "company_ids": [{"scheme": "0002", "value": "552100554"}, {"scheme": "vat", "value": "FR83404833048"}],
    "customer_id": "ec8c3f77-c9c2-5217-a19c-c19e352c07cc",
    "survivor_id": "ec8c3f77-c9c2-5217-a19c-c19e352c07cc",
    "version": 2,
    "source_system": "sap",
    "customer_number": "100217",
    "status": "confirmed",
    "on_hold": False,
    "limit_minor": 1500000,
    "limit_currency": "EUR",
    **dict.fromkeys(("segment", "policy", "parent_customer_id", "merged_into", "erased_on", "hold_reason")),
}


class AddressCommand(Command):
    """A postal address, lines as they are printed."""

    lines: Annotated[tuple[Text, ...], Lax, Field(max_length=6)] = ()
    postcode: Annotated[str, Field(max_length=20), Line] | None = None
    city: Annotated[str, Field(max_length=100), Line] | None = None
    country: Country | None = None


class RoleAddressCommand(AddressCommand):
    """A further address and what it is for."""

    role: CodeText


class ContactCommand(Command):
    """A person or mailbox at the customer; without `consent` nothing is mailed to it."""

    role: CodeText
    name: Annotated[str, Field(max_length=200), Line] | None = None
    email: Annotated[str, Field(max_length=254, pattern="^[^@ ]+@[^@ ]+$"), Line] | None = None
    phone: Annotated[str, Field(max_length=40), Line] | None = None
    language: Language | None = None
    consent: bool = True


class CheckedNumber(RegisterNumber):
    """A company's number, by its own form and check digits where its scheme has any that we know."""

    @model_validator(mode="after")
    def _holds(self) -> Self:
        if (fault := company_id_fault(self.scheme, self.value)) is not None:
            raise ValueError(fault)
        return self


def _vat(text: str) -> str:
    if (fault := company_id_fault("vat", text)) is not None:
        raise ValueError(fault)
    return text


class CustomerCommand(Command):
    """A customer as its ERP knows it."""

    model_config = shown(EXAMPLE)

    name: Text
    company_ids: Annotated[tuple[CheckedNumber, ...], Lax, Field(max_length=20)] = ()
    vat_id: Annotated[str, Field(min_length=4, max_length=20), Line, AfterValidator(_vat)] | None = None
    country: Country | None = None
    language: Language | None = None
    currency: CurrencyCode | None = None
    payment_terms_days: Annotated[int, Field(ge=0, le=365)] | None = None
    segment: CodeText | None = None
    policy: CodeText | None = None
    requires_order_number: bool = False
    parent_customer_id: Id | None = None
    address: AddressCommand | None = None
    addresses: Annotated[tuple[RoleAddressCommand, ...], Lax, Field(max_length=20)] = ()
    contacts: Annotated[tuple[ContactCommand, ...], Lax, Field(max_length=20)] = ()
    known_ibans: Annotated[tuple[Iban, ...], Lax, Field(max_length=100)] = ()


class CustomerView(BaseModel):
    """A customer as it is kept, with what credit says of it.

    `merged_into` is whom it is a duplicate of, `survivor_id` who stands for it (itself, where it is no duplicate): what is
    billed, owed and held is that one's.
    """

    model_config = shown(ANSWER)

    customer_id: UUID
    version: int
    source_system: str
    customer_number: str
    status: str
    company_ids: list[dict[str, str]]
    country: str | None
    language: str | None
    currency: str | None
    payment_terms_days: int | None
    segment: str | None
    policy: str | None
    requires_order_number: bool
    parent_customer_id: UUID | None
    merged_into: UUID | None
    survivor_id: UUID
    erased_on: date | None
    name: str | None
    address: dict[str, Any] | None
    addresses: list[dict[str, Any]]
    contacts: list[dict[str, Any]]
    known_ibans: list[str]
    on_hold: bool
    hold_reason: str | None
    limit_minor: int | None
    limit_currency: str | None


class CustomerPage(BaseModel):
    """A page of customers."""

    model_config = shown({"items": [ANSWER], "next_cursor": None})

    items: list[CustomerView]
    next_cursor: str | None


class VersionView(BaseModel):
    """What a customer was from a moment on. `identity` is null where nothing was known, or it was erased since."""

    version: int
    at: datetime
    actor: str
    action: str
    merged_into: UUID | None
    customer: dict[str, Any]
    identity: dict[str, Any] | None


class VersionPage(BaseModel):
    """A page of versions, newest first."""

    model_config = shown(
        {
            "items": [
                {
                    "version": 1,
                    "at": "2026-03-05T09:00:00Z",
                    "actor": "erp",
                    "action": "customer.created",
                    "merged_into": None,
                    "customer": {"status": "confirmed", "payment_terms_days": 30},
                    "identity": {"name": "Boulangerie Kervella SARL"},
                }
            ],
            "next_cursor": None,
        }
    )

    items: list[VersionView]
    next_cursor: str | None


def view(row: Row[Any]) -> CustomerView:
    """A customer's row as the API shows it."""
    said = as_dict(row)
    for name in ("company_ids", "address", "addresses", "contacts", "known_ibans"):
        said[name] = msgspec.json.decode(said[name]) if said[name] is not None else None if name == "address" else []
    return CustomerView.model_validate(said)


@ROUTER.put("/{source_system}/{customer_number}", responses={201: {"model": CustomerView, "description": "The customer is new"}})
async def put_customer(
    source_system: Annotated[SourceSystem, Path()],
    customer_number: Annotated[Number, Path()],
    command: CustomerCommand,
    request: Request,
    response: Response,
    caller: Annotated[Caller, requires("customers:write")],
) -> CustomerView:
    """Enters a customer, or replaces what is known of it. An unchanged PUT changes no version and publishes nothing.

    With `If-Match`, only where the customer is still at that version.
    """
    tenant_id = caller.tenant_id
    customer_id = named_id("customer", tenant_id, source_system, customer_number)
    company_ids = [each.company_id() for each in command.company_ids]
    if command.vat_id is not None:
        company_ids.append(CompanyId(scheme="vat", value=command.vat_id))
    customer = CustomerChanged(
        version=1,
        customer_id=customer_id,
        source_system=source_system,
        customer_number=customer_number,
        status="confirmed",
        company_ids=company_ids,
        **command.model_dump(include={"country", "language", "currency", "payment_terms_days", "segment", "policy", "parent_customer_id"}),
        requires_order_number=command.requires_order_number,
    )
    identity = CustomerIdentityChanged(
        version=1,
        customer_id=customer_id,
        name=command.name,
        address=None if command.address is None else msgspec.convert(command.address.model_dump(), Address),
        addresses=[msgspec.convert(each.model_dump(), RoleAddress) for each in command.addresses],
        contacts=[Contact(**each.model_dump()) for each in command.contacts],
        known_ibans=list(command.known_ibans),
    )
    async with runtime_of(request).database.transaction(tenant_id) as conn:
        try:
            version, made = await handlers.put_customer(conn, tenant_id, customer, identity, actor=caller.subject, seen=matches(request))
        except Refusal as refusal:
            raise problem_of(refusal) from None
        rows = await storage.customers(conn, tenant_id, filters={"customer_id": customer_id}, after=None, limit=1)
    response.status_code = 201 if made else 200
    response.headers["ETag"] = etag(version)
    return view(rows[0])


@ROUTER.get("")
async def get_customers(
    request: Request,
    caller: Annotated[Caller, requires("customers:read")],
    number: Annotated[str | None, Query(max_length=100)] = None,
    source_system: Annotated[str | None, Query(max_length=64)] = None,
    name: Annotated[str | None, Query(min_length=2, max_length=100, description="A part of the name")] = None,
    company_id: Annotated[str | None, Query(max_length=100, description="A number in a register, or a VAT number")] = None,
    status: Annotated[Literal["confirmed", "unconfirmed"] | None, Query()] = None,
    segment: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> CustomerPage:
    """Customers; by their ERP's number, a part of the name, a register number, status or segment, where given."""
    asked = {
        "customer_number": number,
        "source_system": source_system,
        "name": None if name is None else f"%{_LIKE.sub(_ESCAPED, name)}%",
        "company_id": None if company_id is None else identifier("", company_id)[1],
        "status": status,
        "segment": segment,
    }
    filters = {column: value for column, value in asked.items() if value is not None}
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "customers", "filters": filters}
    after = UUID(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.customers(conn, caller.tenant_id, filters=filters, after=after, limit=limit + 1)
    more = len(rows) > limit
    views = [view(row) for row in rows[:limit]]
    return CustomerPage(items=views, next_cursor=cursors.encode([str(views[-1].customer_id)], **bound) if more else None)


@ROUTER.get("/{customer_id}")
async def get_customer(
    customer_id: UUID, request: Request, response: Response, caller: Annotated[Caller, requires("customers:read")]
) -> CustomerView:
    """One customer."""
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.customers(conn, caller.tenant_id, filters={"customer_id": customer_id}, after=None, limit=1)
    if not rows:
        raise Problem(404, "customer-unknown", "There is no such customer")
    response.headers["ETag"] = etag(rows[0].version)
    return view(rows[0])


@ROUTER.get("/{customer_id}/versions")
async def get_versions(
    customer_id: UUID,
    request: Request,
    caller: Annotated[Caller, requires("customers:read")],
    at: Annotated[AwareDatetime | None, Query(description="Up to this moment: the first is what the customer was then")] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> VersionPage:
    """What a customer was, newest first. Names and addresses of an erased one are gone from all versions."""
    moment = None if at is None else at.isoformat()
    cursors, bound = (
        request.app.state.cursors,
        {"tenant_id": caller.tenant_id, "route": f"versions/{customer_id}", "filters": {"at": moment}},
    )
    before = int(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.history(conn, caller.tenant_id, customer_id, at=at, before=before, limit=limit + 1)
        if not rows and not await storage.customers_billed(conn, caller.tenant_id, [customer_id]):
            raise Problem(404, "customer-unknown", "There is no such customer")
    more = len(rows) > limit
    found = [
        VersionView(
            version=row.version,
            at=row.at,
            actor=row.actor,
            action=row.action,
            merged_into=row.into_customer_id,
            customer=msgspec.json.decode(row.customer),
            identity=None if row.identity is None else msgspec.json.decode(row.identity),
        )
        for row in rows[:limit]
    ]
    return VersionPage(items=found, next_cursor=cursors.encode([str(found[-1].version)], **bound) if more else None)
