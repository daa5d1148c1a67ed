"""The partners' API: a pull feed of the public log, and webhook subscriptions."""

import asyncio
import base64
import json
import re
import secrets
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from contracts.catalogue import topics
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field
from shared import audit
from shared.clock import machine_now, monotonic
from shared.db import Database
from shared.ids import new_id
from shared.web.auth import Caller, requires
from shared.web.idempotency import once
from shared.web.models import Command
from shared.web.pagination import DEFAULT_LIMIT, CursorText, Limit
from shared.web.problems import FieldError, Problem
from shared.web.route import Router

from partners import storage
from partners.settings import Settings
from partners.webhooks import UrlRefusedError, checked_address

ROUTER = Router(prefix="/v1", tags=["partners"])
PUBLIC_EVENTS = frozenset(topic.name for topic in topics().values() if topic.public)
WAIT_SECONDS_MAX = 20
POLL_SECONDS = 0.1
SECRET_BYTES = 32
_CURSOR = re.compile(r"1:([0-9]{1,18})")


class Page(BaseModel):
    """A piece of the log. `next` continues after it, also when it is empty."""

    events: list[dict[str, Any]] = Field(description="CloudEvents 1.0, structured JSON")
    next: str


class NewSubscription(Command):
    """Where to send which events."""

    url: Annotated[str, Field(min_length=1, max_length=2000, examples=["https://erp.example/hooks/encours"])]
    events: Annotated[list[str], Field(min_length=1, max_length=100, examples=[["InvoicePaid"]])]


class Subscription(BaseModel):
    """A subscription. Its secret is told once, when it is made."""

    subscription_id: UUID
    url: str
    events: list[str]
    status: Literal["active", "disabled"]
    pending: int
    failing_since: datetime | None
    created_at: datetime


class CreatedSubscription(BaseModel):
    """A subscription as it was made, with the secret that its webhooks are signed with (Standard Webhooks 1.0.0)."""

    subscription_id: UUID
    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class Subscriptions(BaseModel):
    """All subscriptions of a tenant."""

    items: list[Subscription]
    next_cursor: str | None


class Delivery(BaseModel):
    """One event for one subscription, and how its sending went."""

    delivery_id: UUID
    event: str
    event_id: UUID
    position: int
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_attempt_at: datetime | None
    answered: int | None
    problem: str | None


class Deliveries(BaseModel):
    """A page of deliveries, newest first."""

    items: list[Delivery]
    next_cursor: str | None


def _database(request: Request) -> Database:
    database: Database = request.app.state.runtime.database
    return database


def _known(names: list[str], where: Literal["body", "query"]) -> list[str]:
    errors = [
        FieldError(f"/{'events' if where == 'body' else 'types'}/{number}", "unknown-event", "is no public event", where)
        for number, name in enumerate(names)
        if name not in PUBLIC_EVENTS
    ]
    if errors:
        raise Problem(422, "unknown-event", "An event is not public or does not exist", errors=errors)
    return sorted(set(names))


@ROUTER.get("/events", response_model=Page)
async def read_events(
    request: Request,
    caller: Annotated[Caller, requires("events:read")],
    after: Annotated[str | None, Query(max_length=256, description="`next` of the page before; absent: from the beginning")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    types: Annotated[str | None, Query(max_length=2000, description="Names of events, with commas between; absent: all")] = None,
    wait: Annotated[int, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for the first event")] = 0,
) -> Page:
    """The public log after a cursor, in its order. Positions are given after commit: no reader ever skips an event."""
    names = _known(types.split(","), "query") if types else []
    position = _position(after)
    end = monotonic() + wait
    while True:
        async with _database(request).transaction(caller.tenant_id) as conn:
            last = await storage.head(conn, caller.tenant_id)
            if position > last:
                raise Problem(400, "cursor-refused", "The cursor is beyond the end of the log")
            rows = await storage.feed(conn, caller.tenant_id, after=position, events=names, limit=limit)
        if rows or monotonic() >= end or request.app.state.runtime.stopping.is_set():
            break
        await asyncio.sleep(POLL_SECONDS)
    # a full page ends at its last event; a page that is not full has seen everything up to the head
    reached = rows[-1].position if len(rows) == limit else max([last, *(row.position for row in rows[-1:])])
    return Page(events=[json.loads(row.cloudevent) for row in rows], next=_cursor(reached))


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(f"1:{position}".encode()).decode().rstrip("=")


def _position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        text = ""
    if not (found := _CURSOR.fullmatch(text)):
        raise Problem(400, "cursor-refused", "The cursor was not made by this feed")
    return int(found[1])


@ROUTER.post("/subscriptions", status_code=201, response_model=CreatedSubscription)
async def subscribe(request: Request, caller: Annotated[Caller, requires("subscriptions:write")], body: NewSubscription) -> Response:
    """Subscribes a URL to events from now on. Only public https addresses are taken."""
    settings: Settings = request.app.state.runtime.settings
    names = _known(body.events, "body")
    try:
        await checked_address(body.url, allow_loopback=settings.allow_loopback_webhooks)
    except UrlRefusedError as error:
        raise Problem(422, "url-refused", str(error), errors=[FieldError("/url", "url-refused", str(error), "body")]) from None

    async with _database(request).transaction(caller.tenant_id) as conn:

        async def produce() -> Response:
            made = CreatedSubscription(
                subscription_id=new_id(), secret="whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
            )
            await storage.subscribe(
                conn, caller.tenant_id, made.subscription_id, url=body.url, secret=made.secret, events=names, now=machine_now()
            )
            entry = (caller.subject, "subscription.created", str(made.subscription_id), {"events": names})
            await audit.record(conn, caller.tenant_id, [entry])
            return Response(made.model_dump_json(), 201, media_type="application/json")

        return await once(request, caller, conn, produce)


@ROUTER.get("/subscriptions", response_model=Subscriptions)
async def list_subscriptions(request: Request, caller: Annotated[Caller, requires("subscriptions:write")]) -> Subscriptions:
    """The tenant's subscriptions and their health."""
    async with _database(request).transaction(caller.tenant_id) as conn:
        rows = await storage.subscriptions(conn, caller.tenant_id)
    return Subscriptions(items=[Subscription.model_validate(dict(row._mapping)) for row in rows], next_cursor=None)  # noqa: SLF001 - SQLAlchemy's name for it


@ROUTER.delete("/subscriptions/{subscription_id}", status_code=204, response_class=Response)
async def unsubscribe(
    request: Request, caller: Annotated[Caller, requires("subscriptions:write")], subscription_id: Annotated[UUID, Path()]
) -> Response:
    """Ends a subscription; what was not sent yet is dropped."""
    await _change(request, caller, subscription_id, "deleted")
    return Response(status_code=204)


@ROUTER.post("/subscriptions/{subscription_id}/enable", status_code=204, response_class=Response)
async def enable(
    request: Request, caller: Annotated[Caller, requires("subscriptions:write")], subscription_id: Annotated[UUID, Path()]
) -> Response:
    """Takes up a disabled subscription where it stopped."""
    await _change(request, caller, subscription_id, "active")
    return Response(status_code=204)


async def _change(request: Request, caller: Caller, subscription_id: UUID, status: str) -> None:
    async with _database(request).transaction(caller.tenant_id) as conn:
        if not await storage.set_status(conn, caller.tenant_id, subscription_id, status):
            raise Problem(404, "not-found", "There is no such subscription")
        await audit.record(conn, caller.tenant_id, [(caller.subject, f"subscription.{status}", str(subscription_id), {})])


@ROUTER.get("/subscriptions/{subscription_id}/deliveries", response_model=Deliveries)
async def list_deliveries(
    request: Request,
    caller: Annotated[Caller, requires("subscriptions:write")],
    subscription_id: Annotated[UUID, Path()],
    limit: Limit = DEFAULT_LIMIT,
    cursor: CursorText = None,
) -> Deliveries:
    """What was sent to a subscription and how it was answered, newest first."""
    bound: dict[str, Any] = {
        "tenant_id": caller.tenant_id,
        "route": "deliveries",
        "filters": {"subscription_id": subscription_id},
    }
    after = 2**62
    if cursor is not None:
        found = request.app.state.cursors.decode(cursor, **bound)[0]
        after = int(found or 0)
    async with _database(request).transaction(caller.tenant_id) as conn:
        rows = await storage.deliveries(conn, caller.tenant_id, subscription_id, after=after, limit=limit)
    more = request.app.state.cursors.encode([rows[-1].position], **bound) if len(rows) == limit else None
    return Deliveries(items=[Delivery.model_validate(dict(row._mapping)) for row in rows], next_cursor=more)  # noqa: SLF001 - as above


@ROUTER.post("/deliveries/{delivery_id}/resend", status_code=202, response_class=Response)
async def resend(
    request: Request, caller: Annotated[Caller, requires("subscriptions:write")], delivery_id: Annotated[UUID, Path()]
) -> Response:
    """Sends an event again, under the same webhook-id."""
    async with _database(request).transaction(caller.tenant_id) as conn:
        if not await storage.resend(conn, caller.tenant_id, delivery_id, now=machine_now()):
            raise Problem(404, "not-found", "There is no such delivery")
    return Response(status_code=202)
