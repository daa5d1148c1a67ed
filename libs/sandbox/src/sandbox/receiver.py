"""A partner's webhook receiver: it stores what comes, verifies Standard Webhooks signatures, and fails when told to.

Invariants: a message is verified against the bytes that came; the same webhook-id is counted once as a message and each
time as an attempt; only the newest messages are kept, counts are never lost.
"""

import json
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_KEPT = 1000
_SHOWN = 100
_KEPT_IDS = 100_000
_NAMES = 100


class Behaviour(BaseModel):
    """How a receiver behaves: the secret to verify with, and how many of the next deliveries fail with which status."""

    secret: str | None = None
    fail: Annotated[int, Field(ge=0)] = 0
    status: Annotated[int, Field(ge=300, le=599)] = 500


@dataclass
class Mailbox:
    """One receiver's state."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    counts: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    ids: "OrderedDict[str, None]" = field(default_factory=OrderedDict)
    messages: "OrderedDict[str, dict[str, Any]]" = field(default_factory=OrderedDict)


def receiver_router() -> APIRouter:
    """The routes below /receiver."""
    boxes: dict[str, Mailbox] = {}
    router = APIRouter(prefix="/receiver")

    def box(name: str) -> Mailbox:
        if name not in boxes and len(boxes) >= _NAMES:
            raise HTTPException(409, f"there are {_NAMES} receivers, and no more")
        return boxes.setdefault(name, Mailbox())

    @router.put("/{name}")
    async def behave(name: str, behaviour: Behaviour) -> dict[str, object]:
        """Set how the receiver behaves from now on."""
        box(name).behaviour = behaviour
        return {"name": name, "verifies": behaviour.secret is not None, "fail": behaviour.fail}

    @router.post("/{name}")
    async def receive(name: str, request: Request) -> Response:
        """One delivery."""
        body, mailbox = await request.body(), box(name)
        mailbox.counts["attempts"] += 1
        if mailbox.behaviour.fail:
            mailbox.behaviour = mailbox.behaviour.model_copy(update={"fail": mailbox.behaviour.fail - 1})
            mailbox.counts["failed"] += 1
            return JSONResponse({"failed": "as told"}, mailbox.behaviour.status)
        if mailbox.behaviour.secret is not None:
            reason = _refused(mailbox.behaviour.secret, body, dict(request.headers))
            if reason:
                mailbox.counts["refused"] += 1
                return JSONResponse({"refused": reason}, 401)
            mailbox.counts["verified"] += 1
        _keep(mailbox, request.headers.get("webhook-id", ""), body)
        return Response(status_code=204)

    @router.get("/{name}")
    async def received(name: str) -> dict[str, object]:
        """Counts, and the newest messages, newest last."""
        mailbox = box(name)
        return {
            "name": name,
            **{what: mailbox.counts[what] for what in ("attempts", "messages", "verified", "refused", "failed", "repeated")},
            "types": dict(sorted(mailbox.types.items())),
            "items": list(mailbox.messages.values())[-_SHOWN:],
        }

    return router


def _refused(secret: str, body: bytes, headers: dict[str, str]) -> str | None:
    """Why the signature is no good, or None. A malformed header raises ValueError in the library, not its own error."""
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError) as error:
        return str(error) or type(error).__name__
    return None


def _keep(mailbox: Mailbox, message_id: str, body: bytes) -> None:
    if message_id in mailbox.ids:
        mailbox.counts["repeated"] += 1
        return
    text = body.decode(errors="replace")
    mailbox.ids[message_id] = None
    mailbox.counts["messages"] += 1
    mailbox.types[_type(body)] += 1
    mailbox.messages[message_id] = {"id": message_id, "body": text}
    if len(mailbox.messages) > _KEPT:
        mailbox.messages.popitem(last=False)
    if len(mailbox.ids) > _KEPT_IDS:
        mailbox.ids.popitem(last=False)


def _type(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return "not json"
    return str(found.get("type", "untyped")) if isinstance(found, dict) else "untyped"
