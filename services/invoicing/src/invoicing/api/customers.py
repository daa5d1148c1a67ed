"""Customers: PUT /v1/customers/{source_system}/{customer_number}, GET /v1/customers."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from contracts.customers import Address, Contact, CustomerChanged, CustomerIdentityChanged
from contracts.fields import CompanyId
from fastapi import Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from shared.ids import named_id
from shared.web.auth import Caller, requires
from shared.web.etag import etag
from shared.web.models import Command, CurrencyCode, Id, Lax, Line, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import Problem
from shared.web.route import Router
from sqlalchemy import Row
from stdnum import iban

from invoicing.api.edge import CodeText, Country, Number, RegisterNumber, SourceSystem, problem_of, runtime_of
from invoicing.handlers import customers as handlers
from invoicing.handlers.refusals import Refusal
from invoicing.storage import customers as storage
from invoicing.storage.rows import as_dict

ROUTER = Router(prefix="/v1/customers", tags=["customers"])
Language = Annotated[str, Field(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})?$", examples=["fr"])]


def _iban(text: str) -> str:
    compact: str = iban.compact(text)
    if not iban.is_valid(compact):
        raise ValueError("is no IBAN with right check digits")
    return compact


Iban = Annotated[str, Field(max_length=42), Line, AfterValidator(_iban)]


class AddressCommand(Command):
    """A postal address, lines as they are printed."""

    lines: Annotated[tuple[Text, ...], Lax, Field(max_length=6)] = ()
    postcode: Annotated[str, Field(max_length=20), Line] | None = None
    city: Annotated[str, Field(max_length=100), Line] | None = None
    country: Country | None = None


class ContactCommand(Command):
    """A person or mailbox at the customer; without `consent` nothing is mailed to it."""

    role: CodeText
    name: Annotated[str, Field(max_length=200), Line] | None = None
    email: Annotated[str, Field(max_length=254, pattern="^[^@ ]+@[^@ ]+$"), Line] | None = None
    phone: Annotated[str, Field(max_length=40), Line] | None = None
    language: Language | None = None
    consent: bool = True


class CustomerCommand(Command):
    """A customer as its ERP knows it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Boulangerie Kervella SARL",
                    "company_ids": [{"scheme": "0002", "value": "552100554"}],
                    "vat_id": "FR83404833048",
                    "country": "FR",
                    "language": "fr",
                    "currency": "EUR",
                    "payment_terms_days": 30,
                    "contacts": [{"role": "billing", "email": "compta@kervella.example", "consent": True}],
                    "known_ibans": ["FR7630006000011234567890189"],
                }
            ]
        }
    )

    name: Text
    company_ids: Annotated[tuple[RegisterNumber, ...], Lax, Field(max_length=20)] = ()
    vat_id: Annotated[str, Field(min_length=4, max_length=20), Line] | None = None
    country: Country | None = None
    language: Language | None = None
    currency: CurrencyCode | None = None
    payment_terms_days: Annotated[int, Field(ge=0, le=365)] | None = None
    segment: CodeText | None = None
    parent_customer_id: Id | None = None
    address: AddressCommand | None = None
    contacts: Annotated[tuple[ContactCommand, ...], Lax, Field(max_length=20)] = ()
    known_ibans: Annotated[tuple[Iban, ...], Lax, Field(max_length=100)] = ()


class CustomerView(BaseModel):
    """A customer as it is kept, with what credit says of it."""

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
    parent_customer_id: UUID | None
    name: str | None
    address: dict[str, Any] | None
    contacts: list[dict[str, Any]]
    known_ibans: list[str]
    on_hold: bool
    hold_reason: str | None
    limit_minor: int | None
    limit_currency: str | None


class CustomerPage(BaseModel):
    """A page of customers."""

    items: list[CustomerView]
    next_cursor: str | None


def _view(row: Row[Any]) -> CustomerView:
    said = as_dict(row)
    for name in ("company_ids", "address", "contacts", "known_ibans"):
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
    """Enters a customer, or replaces what is known of it. An unchanged PUT changes no version and publishes nothing."""
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
        **command.model_dump(include={"country", "language", "currency", "payment_terms_days", "segment", "parent_customer_id"}),
    )
    identity = CustomerIdentityChanged(
        version=1,
        customer_id=customer_id,
        name=command.name,
        address=None if command.address is None else msgspec.convert(command.address.model_dump(), Address),
        contacts=[Contact(**each.model_dump()) for each in command.contacts],
        known_ibans=list(command.known_ibans),
    )
    async with runtime_of(request).database.transaction(tenant_id) as conn:
        try:
            version, made = await handlers.put_customer(conn, tenant_id, customer, identity, actor=caller.subject)
        except Refusal as refusal:
            raise problem_of(refusal) from None
        rows = await storage.customers(conn, tenant_id, filters={"customer_id": customer_id}, after=None, limit=1)
    response.status_code = 201 if made else 200
    response.headers["ETag"] = etag(version)
    return _view(rows[0])


@ROUTER.get("")
async def get_customers(
    request: Request,
    caller: Annotated[Caller, requires("customers:read")],
    number: Annotated[str | None, Query(max_length=100)] = None,
    source_system: Annotated[str | None, Query(max_length=64)] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> CustomerPage:
    """Customers, by their ERP's number where one is given."""
    filters = {name: value for name, value in (("customer_number", number), ("source_system", source_system)) if value is not None}
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "customers", "filters": filters}
    after = UUID(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.customers(conn, caller.tenant_id, filters=filters, after=after, limit=limit + 1)
    more = len(rows) > limit
    views = [_view(row) for row in rows[:limit]]
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
    return _view(rows[0])
