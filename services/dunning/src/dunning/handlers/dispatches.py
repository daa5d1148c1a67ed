"""Sending the planned mails, and what becomes of each.

planned -> sending -> sent | failed | in_doubt; sending -> planned again where the server said "later"; planned -> withdrawn
where the situation changed since the decision, or the decision's day is over.

Invariants:
- that a mail is about to leave is committed before it does, how it went after; a process that dies in between leaves a row
  that is `in_doubt`, which a person resolves and no program repeats;
- right before it leaves, the decision is taken again on what is known now: it goes only where it still asks the same;
- ReminderSent is published in the transaction that marks the mail sent, which happens once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from contracts.dunning import ReminderItem, ReminderSent
from shared import documents
from shared.aliases import stands_for
from shared.clock import machine_now
from shared.failpoints import failpoint
from shared.jobs import JobContext
from shared.logging import log
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.days import business_day
from dunning.domain.reminder import decide
from dunning.handlers.policies import policy_of
from dunning.handlers.promises import RefusedError
from dunning.handlers.reminders import cases, same_lines, situation_of
from dunning.letters import with_copies
from dunning.smtp import Outcome
from dunning.storage import dispatches as storage

DOUBT_AFTER = timedelta(minutes=5)
"""Longer than any one SMTP dialogue may take: nine replies of 30 s at most."""
ROUND_MAX = 100
"""Mails of one tenant in a round: the next tenant's turn, and a stop, are never far."""
RETRY_FIRST = timedelta(seconds=5)
RETRY_MOST = timedelta(hours=1)
LATER_IN_A_ROW_MAX = 5
"""So many "later" in a row mean that the server is down: the round ends."""


class Transport(Protocol):
    """What takes a mail: `smtp.Smtp`."""

    async def send(self, sender: str, recipient: str, mail: bytes) -> Outcome:
        """Sends one mail and says how it went."""
        ...


async def send_planned(context: JobContext, tenant_id: UUID, transport: Transport, folder: Path | None = None) -> None:
    """The job: sends what is planned, one mail at a time. `folder`: the store of documents, whence copies of invoices come."""
    async with context.database.transaction(tenant_id) as conn:
        if lost := await storage.doubt_old(conn, tenant_id, machine_now() - DOUBT_AFTER):
            log.error("mail_in_doubt", tenant=str(tenant_id), mails=lost)
    later = 0
    for _ in range(ROUND_MAX):
        if later == LATER_IN_A_ROW_MAX:
            return
        async with context.database.transaction(tenant_id) as conn:
            mail = await storage.next_planned(conn, tenant_id, machine_now())
            if mail is None:
                return
            if reason := await _objection(conn, tenant_id, mail, business_day(context.now)):
                await storage.withdraw(conn, tenant_id, [mail.reminder_id], reason)
                continue
            policy = await policy_of(conn, tenant_id)
            named = await storage.copies(conn, tenant_id, _invoices(mail)) if policy.attach_copies and folder else []
            await storage.claim(conn, tenant_id, mail.reminder_id, machine_now())
        content = await asyncio.to_thread(_with_copies, folder, tenant_id, mail.mail, named) if folder and named else mail.mail
        await failpoint("dispatch.before_send")
        outcome = await transport.send(policy.sender_email, mail.recipient, content)
        await failpoint("dispatch.after_send")
        async with context.database.transaction(tenant_id) as conn:
            await _note(conn, tenant_id, mail, outcome, context.now)
        later = later + 1 if outcome.kind == "later" else 0


def _invoices(mail: Row[Any]) -> list[UUID]:
    return sorted({UUID(line["item_id"]) for line in mail.asked})


def _with_copies(folder: Path, tenant_id: UUID, mail: bytes, named: Sequence[Row[Any]]) -> bytes:
    """The mail with the copies that are in the store. A copy that is not there is told of, and holds up no reminder."""
    found = [(row.invoice_number, documents.load(folder, tenant_id, row.copy_sha256)) for row in named]
    if missing := sum(data is None for _, data in found):
        log.warning("copy_missing", tenant=str(tenant_id), copies=missing)
    return with_copies(mail, [(number, data) for number, data in found if data is not None])


async def _objection(conn: AsyncConnection, tenant_id: UUID, mail: Row[Any], today: date) -> str | None:
    """Why a planned mail is not to leave after all, or None."""
    if mail.day < today:
        return "not_sent_in_time"
    policy = await policy_of(conn, tenant_id)
    if not policy.active_on(today):
        return "switched_off"
    if await stands_for(conn, tenant_id, mail.customer_id) != mail.customer_id:
        return "merged"  # whoever stands for him is decided about on the next day, at his own address
    debtor = (mail.customer_id, mail.currency)
    case = (await cases(conn, tenant_id, mail.entity_id, policy, {debtor: situation_of(mail.inputs).lines}))[debtor]
    decision = decide(case.situation)
    if decision.held:
        return decision.held
    return None if same_lines(mail.asked, decision) and case.recipient == mail.recipient else "changed"


async def _note(conn: AsyncConnection, tenant_id: UUID, mail: Row[Any], outcome: Outcome, now: datetime) -> None:
    """Stores how a mail went."""
    match outcome.kind:
        case "sent":
            await _sent(conn, tenant_id, mail.reminder_id, now, outcome.detail)
        case "refused":
            await storage.end(conn, tenant_id, mail.reminder_id, "failed", outcome.detail, before=["sending", "in_doubt"])
        case "in_doubt":
            await storage.end(conn, tenant_id, mail.reminder_id, "in_doubt", outcome.detail, before=["sending"])
        case "later":
            wait = min(RETRY_FIRST * 2 ** min(mail.attempts, 12), RETRY_MOST)
            await storage.give_back(conn, tenant_id, mail.reminder_id, machine_now() + wait, outcome.detail)


async def _sent(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID, now: datetime, detail: str) -> None:
    row = await storage.mark_sent(conn, tenant_id, reminder_id, now, detail)
    if row is None:
        return
    event = ReminderSent(
        reminder_id=row.reminder_id,
        customer_id=row.customer_id,
        step=row.step,
        level=row.level,
        channel="email",
        currency=row.currency,
        items=[_item(line) for line in row.asked],
        interest_minor=row.interest_minor,
        compensation_minor=row.compensation_minor,
        as_of=row.gate_through,
        sent_at=row.sent_at,
    )
    await publish(conn, [Outgoing(tenant_id, event, entity_id=row.entity_id)])


def _item(line: Mapping[str, Any]) -> ReminderItem:
    return ReminderItem(
        item_id=UUID(line["item_id"]),
        instalment=line["instalment"],
        level=line["level"],
        due_date=date.fromisoformat(line["due_date"]),
        asked_minor=line["asked_minor"],
    )


async def resolve(conn: AsyncConnection, tenant_id: UUID, reminder_id: UUID, *, was_sent: bool, now: datetime) -> bool:
    """A person's word on a mail in doubt, or one that failed: it left, or it did not (its levels are then free again, and a
    later run decides anew). False where there is no such mail; raises RefusedError where there is nothing to resolve.
    """
    row = await storage.get(conn, tenant_id, reminder_id)
    if row is None:
        return False
    if row.state == "in_doubt" and was_sent:
        await _sent(conn, tenant_id, reminder_id, now, "resolved by hand")
    elif row.state in ("in_doubt", "failed") and not was_sent:
        await storage.withdraw(conn, tenant_id, [reminder_id], "resolved_by_hand")
    else:
        raise RefusedError("nothing-to-resolve", f"the mail is {row.state}")
    return True
