"""Sending the planned mails, and what becomes of each.

planned -> sending -> sent | failed | in_doubt; sending -> planned again where the server said "later"; planned -> withdrawn
where the situation changed since the decision, or the decision's day is over.

Invariants:
- that a mail is about to leave is committed before it does, how it went after; a process that dies in between leaves rows
  that are `in_doubt`, which a person resolves and no program repeats: at most SIDE_BY_SIDE;
- right before it leaves, the decision is taken again on what is known now: it goes only where it still asks the same. A claim
  takes no more mails than can leave at once, so none waits for another between that second look and its dialogue;
- a mail that hangs keeps its own connection waiting, and no other mail;
- ReminderSent is published in the transaction that marks the mail sent, which happens once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from contracts.dunning import ReminderItem, ReminderSent
from shared import documents
from shared.clock import machine_now, monotonic
from shared.days import business_day
from shared.failpoints import failpoint
from shared.jobs import JobContext
from shared.logging import log
from shared.outbox import Outgoing, publish
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.reminder import decide
from dunning.handlers.policies import Policy, policy_of
from dunning.handlers.promises import RefusedError
from dunning.handlers.reminders import cases, same_lines, situation_of
from dunning.letters import with_copies
from dunning.smtp import Outcome
from dunning.storage import dispatches as storage

DOUBT_AFTER = timedelta(minutes=6)
"""Longer than any one SMTP dialogue may take: eleven replies of 30 s at most."""
SIDE_BY_SIDE = 8
"""Mails on their way at once, each on a connection of its own; servers rarely grant one client more than ten."""
ROUND_SECONDS = 2.0
"""So long a round takes new mails: the next tenant's turn, and a stop, are never far."""
PATIENCE_SECONDS = 0.25
"""So long what is answered waits for the rest, to be stored with it by one statement."""
RETRY_FIRST = timedelta(seconds=5)
RETRY_MOST = timedelta(hours=1)
LATER_IN_A_ROW_MAX = 5
"""So many "later" in a row mean that the server is down: the round ends."""
Told = tuple[Row[Any], Outcome]
"""A mail and how it went."""
_STATES = {"sent": "sent", "refused": "failed", "in_doubt": "in_doubt", "later": "planned"}


class Transport(Protocol):
    """What takes mails, several side by side: `smtp.Smtp`."""

    async def send(self, sender: str, recipient: str, mail: bytes) -> Outcome:
        """Sends one mail and says how it went."""
        ...

    async def close(self) -> None:
        """Nothing follows for now: lets go of what it kept open."""
        ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """A mail that is about to leave, with the copies to add to it (invoice number, SHA-256)."""

    row: Row[Any]
    sender: str
    copies: Sequence[tuple[str, str]]


async def send_planned(context: JobContext, tenant_id: UUID, transport: Transport, folder: Path | None = None) -> None:
    """The job: sends what is planned. `folder`: the store of documents, whence copies of invoices come."""
    async with context.database.transaction(tenant_id) as conn:
        if lost := await storage.doubt_old(conn, tenant_id, machine_now() - DOUBT_AFTER):
            log.error("mail_in_doubt", tenant=str(tenant_id), mails=lost)
        if not await storage.waiting(conn, tenant_id, machine_now()):
            return
    until, later = monotonic() + ROUND_SECONDS, 0
    leaving: dict[asyncio.Task[Outcome], Claimed] = {}
    try:
        while True:
            fresh: dict[asyncio.Task[Outcome], Claimed] = {}
            if (free := SIDE_BY_SIDE - len(leaving)) and later < LATER_IN_A_ROW_MAX:
                claimed = await _claim(context, tenant_id, free, until, copies=folder is not None)
                fresh = {asyncio.create_task(_send(transport, tenant_id, mail, folder)): mail for mail in claimed}
                leaving |= fresh
            if fresh:
                await asyncio.wait(fresh, timeout=PATIENCE_SECONDS)
            elif leaving:
                await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)
            else:
                return
            answered = [(leaving.pop(task).row, task) for task in list(leaving) if task.done()]
            await _note_all(context, tenant_id, [(mail, task.result()) for mail, task in answered if task.exception() is None])
            for _, task in answered:
                later = later + 1 if task.result().kind == "later" else 0
    finally:
        for task in leaving:
            task.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)
        await transport.close()


async def _claim(context: JobContext, tenant_id: UUID, most: int, until: float, *, copies: bool) -> list[Claimed]:
    """The next mails that may leave, and now are leaving, as far as the round goes; on the way there, what may not is withdrawn."""
    while monotonic() < until:
        async with context.database.transaction(tenant_id) as conn:
            mails = await storage.next_planned(conn, tenant_id, machine_now(), most)
            if not mails:
                return []
            mails = [mail for mail in mails if mail.entity_id == mails[0].entity_id]  # or accounts would be locked after items
            policy = await policy_of(conn, tenant_id)
            objections = await _objections(conn, tenant_id, mails, policy, business_day(context.now))
            if objections:
                await storage.withdraw(conn, tenant_id, objections)
            if going := [mail for mail in mails if mail.reminder_id not in objections]:
                invoices = {mail.reminder_id: {UUID(line["item_id"]) for line in mail.asked} for mail in going}
                found = await storage.copies(conn, tenant_id, set().union(*invoices.values())) if copies and policy.attach_copies else []
                await storage.claim(conn, tenant_id, list(invoices), machine_now())
        if going:
            return [
                Claimed(
                    mail,
                    policy.sender_email,
                    [(row.invoice_number, row.copy_sha256) for row in found if row.invoice_id in invoices[mail.reminder_id]],
                )
                for mail in going
            ]
    return []


async def _objections(conn: AsyncConnection, tenant_id: UUID, mails: Sequence[Row[Any]], policy: Policy, today: date) -> dict[UUID, str]:
    """Which planned mails of one legal entity are not to leave after all, and why."""
    found: dict[UUID, str] = {}
    for mail in mails:
        if mail.day < today:
            found[mail.reminder_id] = "not_sent_in_time"
        elif not policy.active_on(today):
            found[mail.reminder_id] = "switched_off"
        elif mail.survivor_id != mail.customer_id:
            found[mail.reminder_id] = "merged"  # whoever stands for him is decided about on the next day, at his own address
    left = {(mail.customer_id, mail.currency): mail for mail in mails if mail.reminder_id not in found}
    if not left:
        return found
    lines = {debtor: situation_of(mail.inputs).lines for debtor, mail in left.items()}
    known = await cases(conn, tenant_id, mails[0].entity_id, policy, lines)
    for debtor, mail in left.items():
        case = known[debtor]  # one that nothing is known of must not pass for one without objection
        decision = decide(case.situation)
        if decision.held:
            found[mail.reminder_id] = decision.held
        elif not same_lines(mail.asked, decision) or case.recipient != mail.recipient:
            found[mail.reminder_id] = "changed"
    return found


async def _send(transport: Transport, tenant_id: UUID, mail: Claimed, folder: Path | None) -> Outcome:
    content = await asyncio.to_thread(_with_copies, folder, tenant_id, mail) if folder and mail.copies else mail.row.mail
    await failpoint("dispatch.before_send")
    outcome = await transport.send(mail.sender, mail.row.recipient, content)
    await failpoint("dispatch.after_send")
    return outcome


def _with_copies(folder: Path, tenant_id: UUID, mail: Claimed) -> bytes:
    """The mail with the copies that are in the store. A copy that is not there is told of, and holds up no reminder."""
    found = [(number, documents.load(folder, tenant_id, sha256)) for number, sha256 in mail.copies]
    if missing := sum(data is None for _, data in found):
        log.warning("copy_missing", tenant=str(tenant_id), copies=missing)
    return with_copies(mail.row.mail, [(number, data) for number, data in found if data is not None])


async def _note_all(context: JobContext, tenant_id: UUID, told: Sequence[Told]) -> None:
    """Stores how some mails went; where that is refused, mail by mail: none is in doubt for another's sake."""
    try:
        await _note(context, tenant_id, told)
    except Exception as error:
        if len(told) == 1:
            raise
        log.warning("mails_noted_one_by_one", tenant=str(tenant_id), mails=len(told), why=type(error).__name__)
        results = [await asyncio.gather(_note(context, tenant_id, [each]), return_exceptions=True) for each in told]
        for [failed] in results:
            if failed is not None:
                raise failed from error


async def _note(context: JobContext, tenant_id: UUID, told: Sequence[Told]) -> None:
    at = machine_now()
    rows = [
        (
            mail.reminder_id,
            _STATES[outcome.kind],
            outcome.detail,
            at + min(RETRY_FIRST * 2 ** min(mail.attempts, 12), RETRY_MOST) if outcome.kind == "later" else None,
        )
        for mail, outcome in told
    ]
    async with context.database.transaction(tenant_id) as conn:
        await _ended(conn, tenant_id, rows, context.now)


async def _ended(conn: AsyncConnection, tenant_id: UUID, rows: Sequence[tuple[UUID, str, str, datetime | None]], now: datetime) -> None:
    """Stores what became of mails, as `storage.note` takes it, and tells of those that left."""
    await publish(
        conn,
        [
            Outgoing(
                tenant_id,
                ReminderSent(
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
                ),
                entity_id=row.entity_id,
            )
            for row in await storage.note(conn, tenant_id, rows, now)
            if row.state == "sent"
        ],
    )


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
        await _ended(conn, tenant_id, [(reminder_id, "sent", "resolved by hand", None)], now)
    elif row.state in ("in_doubt", "failed") and not was_sent:
        await storage.withdraw(conn, tenant_id, {reminder_id: "resolved_by_hand"})
    else:
        raise RefusedError("nothing-to-resolve", f"the mail is {row.state}")
    return True
