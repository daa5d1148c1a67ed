"""Bank accounts and virtual IBANs."""

from datetime import date
from functools import lru_cache
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator, model_validator
from shared import audit
from shared.db import Database
from shared.ids import named_id
from shared.web.auth import Caller, requires
from shared.web.idempotency import KEYED
from shared.web.models import Command, CurrencyCode, Date, Id, Lax, Text
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum import iban as stdnum_iban
from stdnum.us import rtn as routing_number

from matching.api.commands import command as keyed
from matching.api.commands import tried
from matching.api.pages import page
from matching.handlers import accounts as handlers
from matching.handlers.instructions import instruct
from matching.settings import MatchingSettings
from matching.storage import bank, virtual_ibans

ROUTER = Router(prefix="/v1", tags=["bank"])
Writer = Annotated[Caller, requires("bank:write")]
Reader = Annotated[Caller, requires("bank:read")]


@lru_cache(10_000)  # a bank tells of the same few accounts of ours all day; the check costs more than the rest of reading a payment
def valid_iban(text: str) -> str:
    """An IBAN without spaces. Raises ValueError unless its length and check digits are right (ISO 13616)."""
    compact = "".join(text.split()).upper()
    if not compact.isascii() or not stdnum_iban.is_valid(compact, check_country=False):
        raise ValueError("not a valid IBAN: length or check digits are wrong")
    return compact


Iban = Annotated[str, Field(min_length=15, max_length=42), AfterValidator(valid_iban)]


class AccountCommand(Command):
    """One of our own bank accounts. Entries before `start_date` are not ours to match.

    `entity_id` is taken as it is said: by its account an entity is known here, often before anything is owed to it.
    """

    entity_id: Id
    currency: CurrencyCode
    holder_name: Text
    start_date: Date


class ClearingMember(Command):
    """A bank by its number in a clearing system: the system's code (ExternalClearingSystemIdentification1Code) and the number."""

    system: Annotated[str, Field(pattern=r"^[A-Z0-9]{5}$", description="USABA, GBDSC, CACPA, AUBSB, ...")]
    member_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,35}$")]

    @field_validator("member_id")
    @classmethod
    def _routing_number(cls, member_id: str, info: ValidationInfo) -> str:
        if info.data.get("system") == "USABA" and not routing_number.is_valid(member_id):
            raise ValueError("no ABA routing number: it has nine digits, the last of which checks the others")
        return member_id


class NumberedAccountCommand(AccountCommand):
    """An account that has no IBAN: the bank's own number of it, and which bank that is: by BIC (ISO 9362) or in its clearing system."""

    number: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9 ./-]{0,32}[A-Za-z0-9])?$")]
    bic: Annotated[str | None, Field(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$")] = None
    clearing: ClearingMember | None = None

    @model_validator(mode="after")
    def _one_bank(self) -> Self:
        if (self.bic is None) == (self.clearing is None):
            raise ValueError("the bank is named once: by bic or by clearing")
        return self

    @property
    def compact(self) -> str:
        """The number as files are compared with it."""
        return "".join(self.number.split()).upper()

    @property
    def bank_id(self) -> str:
        """The scheme and what it names."""
        return f"{self.clearing.system}:{self.clearing.member_id}" if self.clearing else f"BIC:{self.bic}"


class AccountView(BaseModel):
    """A bank account as it stands. `number` is its IBAN, or else the number of the bank `bank_id` (`BIC:...`, `USABA:...`)."""

    bank_account_id: UUID
    version: int
    entity_id: UUID
    iban: str | None
    number: str
    bank_id: str | None
    currency: str
    holder_name: str
    start_date: date
    status: str


class AccountList(BaseModel):
    """A page of bank accounts."""

    items: list[AccountView]
    next_cursor: str | None


class PoolCommand(Command):
    """Virtual IBANs that the bank has given us."""

    ibans: Annotated[list[Iban], Field(min_length=1, max_length=1000)]


class PoolView(BaseModel):
    """How many were new."""

    added: int


class AssignCommand(Command):
    """Whose the next virtual IBAN of the pool is to be: a customer's, or one invoice's. Either may be told of later: what is not known
    yet is taken as it is said.

    `holder_name` is who is paid by it, as Verification of Payee compares it: you. It is told to partners, so it is no place for the name of
    a person who pays.
    """

    bank_account_id: Id
    holder_name: Text
    customer_id: Annotated[Id | None, Lax] = None
    invoice_id: Annotated[Id | None, Lax] = None


class VirtualIbanView(BaseModel):
    """A virtual IBAN and whose it is."""

    virtual_iban_id: UUID
    virtual_iban: str
    bank_account_id: UUID
    customer_id: UUID | None
    invoice_id: UUID | None
    holder_name: str | None
    status: Literal["pool", "assigned", "released"]


class InstructionCommand(Command):
    """An invoice by its source's own number, which need not exist yet, and who will owe it."""

    bank_account_id: Id
    source_system: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")]
    invoice_number: Text
    customer_number: Text


class InstructionView(BaseModel):
    """What is to be printed on the invoice: pay to this virtual IBAN, with this reference (ISO 11649)."""

    instruction_id: UUID
    entity_id: UUID
    source_system: str
    invoice_number: str
    customer_id: UUID
    virtual_iban: str
    holder_name: str
    reference: str
    invoice_id: UUID | None


class VirtualIbanList(BaseModel):
    """A page of virtual IBANs."""

    items: list[VirtualIbanView]
    next_cursor: str | None


def database_of(request: Request) -> Database:
    """The service's database."""
    database: Database = request.app.state.runtime.database
    return database


def _settings(request: Request) -> MatchingSettings:
    settings: MatchingSettings = request.app.state.runtime.settings
    return settings


def path_iban(text: str) -> str:
    """The IBAN in a path, without spaces. Raises a 422 Problem."""
    try:
        return valid_iban(text)
    except ValueError:
        raise Problem(422, "iban-invalid", "The IBAN in the path is not valid") from None


@ROUTER.put("/bank-accounts/{iban}")
async def put_account(request: Request, caller: Writer, iban: Annotated[str, Path(max_length=42)], command: AccountCommand) -> AccountView:
    """Sets up one of our own accounts, or changes its holder or start date. Entity and currency never change."""
    return await _put(request, caller, path_iban(iban), command, None)


@ROUTER.post("/bank-accounts")
async def post_account(request: Request, caller: Writer, command: NumberedAccountCommand) -> AccountView:
    """Sets up an account that has no IBAN, or changes its holder or start date: files that name its number are then read.

    The number names it: said twice it is one account. Entity, currency and bank never change.
    """
    number = command.compact
    if stdnum_iban.is_valid(number, check_country=False):
        error = FieldError("/number", "number-is-iban", "is an IBAN")
        raise Problem(422, "number-is-iban", "The account has an IBAN: set it up under that", errors=[error])
    return await _put(request, caller, number, command, command.bank_id)


async def _put(request: Request, caller: Caller, number: str, command: AccountCommand, bank_id: str | None) -> AccountView:
    async def produce(conn: AsyncConnection) -> AccountView:
        held = await handlers.put_account(
            conn,
            caller.tenant_id,
            number,
            entity_id=command.entity_id,
            currency=command.currency,
            holder_name=command.holder_name,
            start_date=command.start_date,
            bank_id=bank_id,
        )
        if held is None:
            raise Problem(409, "account-is-anothers", "The account is there with another entity, currency or bank")
        await audit.record(
            conn, caller.tenant_id, [(caller.subject, "bank_account.put", str(held.bank_account_id), {"version": held.version})]
        )
        return AccountView(**{name: getattr(held, name) for name in AccountView.model_fields})

    return await tried(request, caller, produce)


@ROUTER.get("/bank-accounts")
async def list_accounts(request: Request, caller: Reader, limit: Limit = DEFAULT_LIMIT, cursor: CursorText = None) -> AccountList:
    """Our own bank accounts, by id."""
    rows, after = await page(
        request,
        caller,
        bank.LISTED,
        {},
        limit=limit,
        cursor=cursor,
    )
    return AccountList(items=[AccountView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.post("/bank-accounts/{iban}/virtual-ibans/pool")
async def add_to_pool(request: Request, caller: Writer, iban: Annotated[str, Path(max_length=42)], command: PoolCommand) -> PoolView:
    """Adds virtual IBANs to an account's pool; those that are there stay as they are."""
    number = path_iban(iban)

    async def produce(conn: AsyncConnection) -> PoolView:
        added = await handlers.add_to_pool(conn, caller.tenant_id, number, command.ibans)
        if added is None:
            raise Problem(404, "account-unknown", "There is no such bank account")
        await audit.record(
            conn,
            caller.tenant_id,
            [(caller.subject, "virtual_iban.pool", str(named_id("bank_account", caller.tenant_id, number)), {"added": added})],
        )
        return PoolView(added=added)

    return await tried(request, caller, produce)


@ROUTER.post("/virtual-ibans", status_code=201, response_model=VirtualIbanView, openapi_extra=KEYED)
async def assign(request: Request, caller: Writer, command: AssignCommand) -> Response:
    """Gives the next virtual IBAN of the pool to a customer or an invoice; an invoice of another entity than the account's is refused."""
    if (command.customer_id is None) == (command.invoice_id is None):
        raise Problem(422, "assignee-unclear", "A virtual IBAN names either a customer or an invoice")

    async def produce(conn: AsyncConnection) -> Response:
        given = await handlers.assign(
            conn,
            caller.tenant_id,
            command.bank_account_id,
            customer_id=command.customer_id,
            invoice_id=command.invoice_id,
            holder_name=command.holder_name,
            quarantine_days=_settings(request).virtual_iban_quarantine_days,
            now=request.app.state.runtime.clock.now(),
        )
        if given is None:
            raise Problem(409, "pool-empty", "The account's pool of virtual IBANs is empty")
        await audit.record(conn, caller.tenant_id, [(caller.subject, "virtual_iban.assign", str(given.virtual_iban_id), {})])
        view = VirtualIbanView.model_validate(given, from_attributes=True)
        return JSONResponse(view.model_dump(mode="json"), 201)

    return await keyed(request, caller, produce)


@ROUTER.post("/payment-instructions", response_model=InstructionView)
async def post_instruction(request: Request, caller: Writer, command: InstructionCommand) -> InstructionView:
    """Where and with which reference an invoice is to be paid, before it is issued. The same question has the same answer."""

    async def produce(conn: AsyncConnection) -> InstructionView:
        found = await instruct(
            conn,
            caller.tenant_id,
            bank_account_id=command.bank_account_id,
            source_system=command.source_system,
            invoice_number=command.invoice_number,
            customer_number=command.customer_number,
            quarantine_days=_settings(request).virtual_iban_quarantine_days,
            now=request.app.state.runtime.clock.now(),
        )
        detail = {"virtual_iban_id": str(found.virtual_iban_id)}
        await audit.record(conn, caller.tenant_id, [(caller.subject, "payment_instruction.get", str(found.instruction_id), detail)])
        return InstructionView.model_validate(found, from_attributes=True)

    return await tried(request, caller, produce)


@ROUTER.post("/virtual-ibans/{virtual_iban_id}/release")
async def release(request: Request, caller: Writer, virtual_iban_id: Annotated[Id, Path()]) -> VirtualIbanView:
    """The virtual IBAN names nobody any more; it is given to another party only after the quarantine."""

    async def produce(conn: AsyncConnection) -> VirtualIbanView:
        given = await handlers.release(conn, caller.tenant_id, virtual_iban_id, now=request.app.state.runtime.clock.now())
        if given is None:
            raise Problem(404, "virtual-iban-unknown", "There is no such assigned virtual IBAN")
        await audit.record(conn, caller.tenant_id, [(caller.subject, "virtual_iban.release", str(virtual_iban_id), {})])
        return VirtualIbanView.model_validate(given, from_attributes=True)

    return await tried(request, caller, produce)


@ROUTER.get("/virtual-ibans")
async def list_virtual_ibans(
    request: Request,
    caller: Reader,
    customer_id: Annotated[UUID | None, Lax] = None,
    invoice_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> VirtualIbanList:
    """Virtual IBANs, of one customer or invoice where asked."""
    rows, after = await page(
        request,
        caller,
        virtual_ibans.LISTED,
        {"customer_id": customer_id, "invoice_id": invoice_id},
        limit=limit,
        cursor=cursor,
    )
    return VirtualIbanList(items=[VirtualIbanView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)
