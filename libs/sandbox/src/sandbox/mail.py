"""A mail sink: it takes every mail by SMTP, keeps the newest in memory, and refuses some addresses on purpose.

Invariants: nothing is ever sent on; `bounce...` is refused for ever (550), `greylist...` the first time only (451); counts
are never lost when old mails are dropped. A session must name its envelope before its data, as SMTP has it.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from fastapi import APIRouter

_KEPT = 5_000
_GREYLISTED = 100_000


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as it was taken."""

    sender: str
    recipients: tuple[str, ...]
    subject: str
    message_id: str
    text: str

    def shown(self) -> dict[str, object]:
        """For the list."""
        return {"from": self.sender, "to": list(self.recipients), "subject": self.subject, "message_id": self.message_id, "text": self.text}


@dataclass
class Mails:
    """Everything taken so far."""

    kept: deque[Mail] = field(default_factory=lambda: deque(maxlen=_KEPT))
    counts: Counter[str] = field(default_factory=Counter)
    ids: Counter[str] = field(default_factory=Counter)
    greylisted: set[str] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds it by this name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        local = address.lower()
        if local.startswith("bounce"):
            self.counts["bounced"] += 1
            return "550 5.1.1 no such mailbox"
        if local.startswith("greylist") and local not in self.greylisted and len(self.greylisted) < _GREYLISTED:
            self.greylisted.add(local)
            self.counts["greylisted"] += 1
            return "451 4.7.1 greylisted, try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Keep a mail."""
        content = envelope.content or b""
        message = message_from_bytes(content if isinstance(content, bytes) else content.encode(), policy=policy.default)
        part = message.get_body(preferencelist=("plain", "html"))
        mail = Mail(
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            subject=str(message.get("subject", "")),
            message_id=str(message.get("message-id", "")),
            text=part.get_content() if part is not None else "",
        )
        self.kept.append(mail)
        self.counts["mails"] += 1
        if mail.message_id:
            self.ids[mail.message_id] += 1
            self.counts["repeated"] += self.ids[mail.message_id] > 1
        return "250 taken"


async def listen(mails: Mails, *, host: str, port: int) -> asyncio.Server:
    """The sink on a port (0: any free one), in the running loop. Close the server to end it."""
    return await asyncio.get_running_loop().create_server(lambda: SMTP(mails, enable_SMTPUTF8=True, ident="sandbox"), host, port)


def mail_router(mails: Mails) -> APIRouter:
    """GET /mail."""
    router = APIRouter()

    @router.get("/mail")
    async def mail(to: str | None = None, limit: int = 100) -> dict[str, Any]:
        """Counts, and the newest mails (to one address), newest last."""
        found = [one for one in mails.kept if to is None or to.lower() in (address.lower() for address in one.recipients)]
        counts = {what: mails.counts[what] for what in ("mails", "bounced", "greylisted", "repeated")}
        return {**counts, "found": len(found), "items": [one.shown() for one in found[-max(0, limit) :] if limit > 0]}

    return router
