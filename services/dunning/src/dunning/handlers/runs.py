"""How a business day's run stands: what whoever steps the clock waits for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from shared.days import business_day
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.handlers.policies import policy_of
from dunning.handlers.reminders import due_lines
from dunning.storage import reminders as storage

_MAIL_STATES = {"failed": "mail_failed", "in_doubt": "mail_in_doubt", "planned": "mail_waiting", "sending": "mail_waiting"}


@dataclass(frozen=True, slots=True)
class Run:
    """`waiting` while somebody due for a step is not decided (the gate is shut, or the run has not come to him), or a mail has
    not been offered to the server once; `done` otherwise, and for days that are over. `held`: customers by reason.
    """

    day: date
    state: Literal["done", "waiting"]
    sent: int
    held: Mapping[str, int]


async def state_of(conn: AsyncConnection, tenant_id: UUID, day: date, now: datetime) -> Run:
    """The state of a day's run."""
    today = business_day(now)
    left = 0
    policy = await policy_of(conn, tenant_id)
    if day == today and policy.active_on(day):
        done = await storage.runs(conn, tenant_id, day)
        left = sum(key[0] not in done for key in await due_lines(conn, tenant_id, policy, day))
    # after what is left: who was decided in between is counted here, and never in neither
    held = Counter({"gate_shut": left}) if left else Counter[str]()
    sent, untried = 0, 0
    for row in await storage.tally(conn, tenant_id, day):
        if row.outcome != "send":
            held[row.reason] += row.n
        elif row.state == "sent":
            sent += row.n
        else:
            held[_MAIL_STATES[row.state]] += row.n
            untried += row.n if row.state == "sending" or (row.state == "planned" and not row.tried) else 0
    waiting = day > today or untried > 0 or left > 0
    return Run(day, "waiting" if waiting else "done", sent, dict(held))
