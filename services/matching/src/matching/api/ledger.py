"""The sub-ledger for an accountant: an entity's chart, what other currencies are worth in euro, the export."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field, field_validator
from shared import audit
from shared.web.auth import Caller, requires
from shared.web.models import Command, CurrencyCode, Date, Id, Lax, Text
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum import luhn

from matching.api.accounts import database_of
from matching.api.commands import tried
from matching.domain.exchange import rate_of
from matching.domain.ledger import EURO, LEDGERS
from matching.handlers import ledger
from matching.storage import ledger as stored
from matching.storage.bank import entity_known

ROUTER = Router(prefix="/v1", tags=["ledger"])
Reader = Annotated[Caller, requires("payments:read")]
Setter = Annotated[Caller, requires("bank:write")]
_SIREN = re.compile(r"[0-9]{9}")


class AccountNumber(Command):
    """A number of the entity's chart, and its label."""

    number: Annotated[str, Field(pattern="^[0-9A-Z]{3,20}$")]
    label: Text


class ChartCommand(Command):
    """Numbers for ledger accounts, by name."""

    accounts: Annotated[dict[str, AccountNumber], Field(min_length=1, max_length=len(LEDGERS))]


class LedgerAccountView(BaseModel):
    """A number and its label."""

    number: str
    label: str


class ChartView(BaseModel):
    """The entity's chart as the export uses it."""

    accounts: dict[str, LedgerAccountView]


class RateCommand(Command):
    """What a unit of a currency is worth in euro from a day on (`0.9245` for a dollar), and where that is from (`ecb`, `bank`, ...)."""

    currency: CurrencyCode
    first_day: Date
    rate: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,10})?$")]
    source: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]


class RatesCommand(Command):
    """Rates of an entity; one of a currency and day that is there is replaced."""

    rates: Annotated[list[RateCommand], Field(min_length=1, max_length=1000)]


class RateView(BaseModel):
    """A rate as it stands."""

    currency: str
    first_day: date
    rate: str
    source: str

    @field_validator("rate", mode="before")
    @classmethod
    def _plain(cls, rate: Decimal) -> str:
        return f"{rate.normalize():f}"


class RatesView(BaseModel):
    """Rates of an entity."""

    rates: list[RateView]


@ROUTER.put("/ledger-accounts/{entity_id}")
async def put_chart(
    request: Request, caller: Annotated[Caller, requires("bank:write")], entity_id: Annotated[Id, Path()], body: ChartCommand
) -> ChartView:
    """Gives ledger accounts of an entity numbers of its own; the others keep those of the French general chart."""
    unknown = sorted(set(body.accounts) - set(LEDGERS))
    if unknown:
        errors = [FieldError("/accounts", "ledger-unknown", f"the ledger accounts are {', '.join(LEDGERS)}")]
        raise Problem(422, "ledger-unknown", "There is no such ledger account", errors=errors)
    numbers = {name: (one.number, one.label) for name, one in body.accounts.items()}

    async def produce(conn: AsyncConnection) -> ChartView:
        await stored.set_numbers(conn, caller.tenant_id, entity_id, numbers)
        await audit.record(conn, caller.tenant_id, [(caller.subject, "ledger_accounts.put", str(entity_id), {"ledgers": sorted(numbers)})])
        return _chart(await ledger.chart_of(conn, caller.tenant_id, entity_id))

    return await tried(request, caller, produce)


@ROUTER.get("/ledger-accounts/{entity_id}")
async def get_chart(request: Request, caller: Reader, entity_id: Annotated[Id, Path()]) -> ChartView:
    """The entity's chart as the export uses it."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        return _chart(await ledger.chart_of(conn, caller.tenant_id, entity_id))


def _chart(numbers: Mapping[str, tuple[str, str]]) -> ChartView:
    return ChartView(accounts={name: LedgerAccountView(number=number, label=label) for name, (number, label) in numbers.items()})


@ROUTER.get("/ledger-export", response_class=Response, responses={200: {"content": {"text/csv": {}, "text/plain": {}}}})
async def export(
    request: Request,
    caller: Reader,
    entity_id: Annotated[UUID, Lax],
    first: Date,
    last: Date,
    form: Annotated[Literal["fec", "csv"], Query(alias="format")] = "csv",
    siren: Annotated[str | None, Query(max_length=9)] = None,
) -> StreamingResponse:
    """The sub-ledger's entries of an entity from `first` to `last`, both included, two lines each.

    `fec`: France's fichier des écritures comptables (article A. 47 A-1 LPF), in euro, named by the SIREN where it is given. Entries in
    other currencies are valued at the entity's rates. 404 for an entity of which nothing is known here: neither a bank account nor an item.
    """
    if last < first:
        raise Problem(422, "period-empty", "The period ends before it begins")
    if siren is not None and not (_SIREN.fullmatch(siren) and luhn.is_valid(siren)):
        raise Problem(422, "siren-invalid", "A SIREN has nine digits, the last of which checks the others")
    fec = form == "fec"
    period = stored.Period.of_days(caller.tenant_id, entity_id, first, last)
    async with database_of(request).transaction(caller.tenant_id) as conn:
        if not await entity_known(conn, caller.tenant_id, entity_id):
            raise Problem(404, "entity-unknown", "There is no such entity here: it has neither a bank account nor an item")
        unknown = await ledger.without_number(conn, period)
        unvalued = await stored.without_rate(conn, period) if fec else []
    if unknown:
        raise Problem(
            409, "ledger-without-number", "A ledger account has no number in the entity's chart", f"without one: {', '.join(unknown)}"
        )
    if unvalued:
        lacking = ", ".join(f"{currency} on {day}" for currency, day in unvalued)
        raise Problem(
            409, "ledger-without-rate", "A FEC is in euro, and a currency has no rate", f"without one: {lacking}; name it, or export as csv"
        )
    name = f"{siren or 'SIREN'}FEC{last:%Y%m%d}.txt" if fec else f"ledger-{first}-{last}.csv"
    media = "text/plain; charset=utf-8" if fec else "text/csv; charset=utf-8"
    pieces = ledger.export(database_of(request), period, fec=fec)
    return StreamingResponse(pieces, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@ROUTER.put("/ledger-rates/{entity_id}")
async def put_rates(request: Request, caller: Setter, entity_id: Annotated[Id, Path()], body: RatesCommand) -> RatesView:
    """Says what other currencies are worth in euro, for exports in euro. A rate holds until the next one, 31 days at most."""
    seen = set()
    for at, one in enumerate(body.rates):
        if one.currency == EURO or (one.currency, one.first_day) in seen or not Decimal(one.rate):
            error = FieldError(f"/rates/{at}", "rate-invalid", "is of the euro itself, zero, or named twice")
            raise Problem(422, "rate-invalid", "A rate is one currency's on one day, above zero", errors=[error])
        seen.add((one.currency, one.first_day))
    rates = [stored.Rate(one.currency, one.first_day, rate_of(one.rate), one.source) for one in body.rates]

    async def produce(conn: AsyncConnection) -> None:
        await stored.set_rates(conn, caller.tenant_id, entity_id, rates)
        detail = {"rates": [f"{one.currency} {one.first_day} {one.rate} {one.source}" for one in body.rates]}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "ledger_rates.put", str(entity_id), detail)])

    await tried(request, caller, produce)
    return _rates(rates)


@ROUTER.get("/ledger-rates/{entity_id}")
async def get_rates(request: Request, caller: Reader, entity_id: Annotated[Id, Path()], first: Date, last: Date) -> RatesView:
    """The rates at which the entity's exports in euro value other currencies, of days from `first` to `last`."""
    if last < first:
        raise Problem(422, "period-empty", "The period ends before it begins")
    async with database_of(request).transaction(caller.tenant_id) as conn:
        return _rates(await stored.rates_of(conn, caller.tenant_id, entity_id, first, last))


def _rates(found: Sequence[stored.Rate]) -> RatesView:
    return RatesView(rates=[RateView.model_validate(one, from_attributes=True) for one in found])
