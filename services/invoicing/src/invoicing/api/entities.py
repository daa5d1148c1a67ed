"""Legal entities: PUT and GET /v1/entities."""

from typing import Annotated, Literal, Self
from uuid import UUID

import msgspec
from fastapi import Request
from pydantic import BaseModel, Field, JsonValue, model_validator
from shared.references import Scheme
from shared.web.auth import Caller, requires
from shared.web.models import Command, CurrencyCode, Lax, Line, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router

from invoicing.api.commands import shown
from invoicing.api.edge import Country, RegisterNumber, runtime_of
from invoicing.domain.reference import PREFIX_MAX, scheme_of
from invoicing.handlers import entities as handlers
from invoicing.storage import entities as storage
from invoicing.storage.rows import as_dict

ROUTER = Router(prefix="/v1/entities", tags=["entities"])


EXAMPLE: dict[str, JsonValue] = {
    "name": "Ateliers Morvan SAS",
    "country": "FR",
    "currency": "EUR",
    "vat_id": "FR40303265045",
    "company_ids": [{"scheme": "0002", "value": "303265045"}],
    "unknown_buyer": "create",
    "on_hold": "warn",
    "payment_terms_days": 30,
    "on_duplicate": "warn",
    "on_missing_order": "warn",
    "reference_scheme": None,
    "reference_prefix": "",
    "retention_years": None,
}
ANSWER: dict[str, JsonValue] = {"entity_id": "bc36259d-cbc5-5622-87a8-b1570bfe1932", **EXAMPLE}


class EntityCommand(Command):
    """A legal entity, the seller on invoices."""

    model_config = shown(EXAMPLE)

    name: Text
    country: Country
    currency: CurrencyCode
    vat_id: Annotated[str, Field(min_length=4, max_length=20), Line] | None = None
    company_ids: Annotated[tuple[RegisterNumber, ...], Lax, Field(max_length=20)] = ()
    unknown_buyer: Annotated[Literal["create", "refuse"], Field(description="What an invoice to a buyer nobody has entered does")] = (
        "create"
    )
    on_hold: Annotated[Literal["warn", "block"], Field(description="What an invoice to a customer on credit hold does")] = "warn"
    payment_terms_days: Annotated[
        int, Field(ge=0, le=365, description="When an invoice falls due that names no date, for a customer without terms")
    ] = 30
    on_duplicate: Annotated[
        Literal["warn", "refuse"], Field(description="What an invoice does that has number, amount, date and buyer of another")
    ] = "warn"
    on_missing_order: Annotated[
        Literal["warn", "refuse"], Field(description="What an invoice without order number to a customer who demands one does")
    ] = "warn"
    reference_scheme: Annotated[
        Scheme | None,
        Field(description="Of references made where none is printed; null: by country (BE, CH, LI, FI, NO), else RF"),
    ] = None
    reference_prefix: Annotated[
        str, Field(pattern="^([1-9][0-9]{0,15})?$", description="Digits that numeric references begin with, as agreed with the bank")
    ] = ""
    retention_years: Annotated[
        int | None,
        Field(
            ge=0,
            le=100,
            description="How long invoices that came without a file are kept here with their buyer's name, where not by the law of "
            "the country as this product knows it; 0: their originals lie in another archive",
        ),
    ] = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        scheme = scheme_of(self.reference_scheme, self.country, None)
        if len(self.reference_prefix) > PREFIX_MAX[scheme]:
            raise ValueError(f"reference_prefix is longer than {PREFIX_MAX[scheme]} digits, all that {scheme} has room for")
        return self


class EntityView(BaseModel):
    """A legal entity as it is kept."""

    model_config = shown(ANSWER)

    entity_id: UUID
    name: str
    country: str
    currency: str
    vat_id: str | None
    company_ids: list[dict[str, str]]
    unknown_buyer: str
    on_hold: str
    payment_terms_days: int
    on_duplicate: str
    on_missing_order: str
    reference_scheme: str | None
    reference_prefix: str
    retention_years: int | None


class EntityPage(BaseModel):
    """A page of entities."""

    model_config = shown({"items": [ANSWER], "next_cursor": None})

    items: list[EntityView]
    next_cursor: str | None


@ROUTER.put("/{entity_id}")
async def put_entity(
    entity_id: UUID, command: EntityCommand, request: Request, caller: Annotated[Caller, requires("entities:write")]
) -> EntityView:
    """Enters a legal entity or replaces what is known of it."""
    company_ids = [each.company_id() for each in command.company_ids]
    values = {"entity_id": entity_id, **command.model_dump(exclude={"company_ids"})}
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        await handlers.put_entity(conn, caller.tenant_id, values, company_ids, actor=caller.subject)
    return EntityView(**values, company_ids=msgspec.to_builtins(company_ids))


@ROUTER.get("")
async def get_entities(
    request: Request,
    caller: Annotated[Caller, requires("entities:read")],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> EntityPage:
    """The tenant's legal entities."""
    cursors, bound = request.app.state.cursors, {"tenant_id": caller.tenant_id, "route": "entities", "filters": {}}
    after = UUID(str(cursors.decode(cursor, **bound)[0])) if cursor else None
    async with runtime_of(request).database.transaction(caller.tenant_id) as conn:
        rows = await storage.entities(conn, caller.tenant_id, after, limit + 1)
    views = [EntityView.model_validate(as_dict(row)) for row in rows[:limit]]
    more = len(rows) > limit
    return EntityPage(items=views, next_cursor=cursors.encode([str(views[-1].entity_id)], **bound) if more else None)
