"""What is owed, and how matching does: open items, balances, statistics, reconciliation."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel
from shared.web.auth import Caller, requires
from shared.web.models import Lax
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.route import Router

from matching.api.accounts import database_of
from matching.api.pages import page
from matching.storage import account_balances, held_up, items, payments

ROUTER = Router(prefix="/v1", tags=["receivables"])
Reader = Annotated[Caller, requires("payments:read")]


class ItemView(BaseModel):
    """An open item: original = open + what settled it."""

    item_id: UUID
    version: int
    entity_id: UUID
    customer_id: UUID
    kind: str
    currency: str
    source_system: str
    invoice_number: str
    issue_date: date
    due_date: date
    original_minor: int
    open_minor: int
    cash_minor: int
    discount_minor: int
    credit_minor: int
    charges_minor: int
    withheld_minor: int
    set_off_minor: int
    written_off_minor: int
    disputed_minor: int
    status: Literal["open", "paid", "closed"]
    close_cause: str | None
    value_date: date | None


class ItemList(BaseModel):
    """A page of items."""

    items: list[ItemView]
    next_cursor: str | None


class UnfollowedView(BaseModel):
    """An invoice whose newest version says less, or is in another currency, than was netted of it: its item stands as it was.

    `payable_minor` is what that version says, `original_minor` what the item counts with, in the item's `currency`. Taking the netting back
    (settlements) brings the two together.
    """

    item_id: UUID
    entity_id: UUID
    customer_id: UUID
    source_system: str
    invoice_number: str
    currency: str
    invoice_version: int
    payable_minor: int
    original_minor: int
    set_off_minor: int
    noted_at: datetime


class UnfollowedList(BaseModel):
    """A page of invoices that their items could not follow."""

    items: list[UnfollowedView]
    next_cursor: str | None


class BalanceView(BaseModel):
    """What a customer owes an entity in a currency."""

    account_id: UUID
    version: int
    entity_id: UUID
    customer_id: UUID
    currency: str
    open_minor: int
    unapplied_minor: int
    unused_credits_minor: int


class BalanceList(BaseModel):
    """A page of balances."""

    items: list[BalanceView]
    next_cursor: str | None


class Statistics(BaseModel):
    """How matching does: payments by status, by the rule that matched them, by the reason why some is unapplied."""

    payments: int
    matched: int
    unmatched: int
    by_status: dict[str, int]
    by_rule: dict[str, int]
    by_reason: dict[str, int]
    amount_minor: dict[str, int]
    allocated_minor: dict[str, int]
    unapplied_minor: dict[str, int]


@ROUTER.get("/open-items")
async def list_items(
    request: Request,
    caller: Reader,
    customer_id: Annotated[UUID | None, Lax] = None,
    status: Literal["open", "paid", "closed"] | None = None,
    invoice_number: str | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> ItemList:
    """Items by id, of one customer, status or invoice number where asked."""
    rows, after = await page(
        request,
        caller,
        items.LISTED,
        {"customer_id": customer_id, "status": status, "invoice_number": invoice_number},
        limit=limit,
        cursor=cursor,
    )
    return ItemList(items=[ItemView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/unfollowed-invoices")
async def list_unfollowed(
    request: Request,
    caller: Reader,
    customer_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> UnfollowedList:
    """Invoices that their items could not follow, by item, of one customer where asked: a person decides what becomes of the netting."""
    rows, after = await page(request, caller, held_up.LISTED, {"customer_id": customer_id}, limit=limit, cursor=cursor)
    return UnfollowedList(items=[UnfollowedView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/balances")
async def list_balances(
    request: Request,
    caller: Reader,
    customer_id: Annotated[UUID | None, Lax] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> BalanceList:
    """Balances by account."""
    rows, after = await page(
        request,
        caller,
        account_balances.LISTED,
        {"customer_id": customer_id},
        limit=limit,
        cursor=cursor,
    )
    return BalanceList(items=[BalanceView.model_validate(row, from_attributes=True) for row in rows], next_cursor=after)


@ROUTER.get("/statistics/matching")
async def statistics(request: Request, caller: Reader) -> Statistics:
    """Counts and sums over all payments. `unmatched` are those with no allocation that were not returned."""
    async with database_of(request).transaction(caller.tenant_id) as conn:
        rows = await payments.counts(conn, caller.tenant_id)
    result = Statistics(
        payments=0, matched=0, unmatched=0, by_status={}, by_rule={}, by_reason={}, amount_minor={}, allocated_minor={}, unapplied_minor={}
    )

    def add(counts: dict[str, int], name: str | None, by: int) -> None:
        if name is not None:
            counts[name] = counts.get(name, 0) + by

    for row in rows:
        result.payments += row.n
        result.matched += row.n if row.status in {"matched", "partly_matched"} else 0
        result.unmatched += row.n if row.status in {"received", "unapplied"} else 0
        add(result.by_status, row.status, row.n)
        add(result.by_rule, row.rule if row.status in {"matched", "partly_matched"} else None, row.n)
        add(result.by_reason, row.reason, row.n)
        add(result.amount_minor, row.currency, int(row.amount))
        add(result.allocated_minor, row.currency, int(row.allocated))
        add(result.unapplied_minor, row.currency, int(row.unapplied))
    return result
