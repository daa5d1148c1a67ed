"""Reports of banks (pain.002) on files of refunds.

Rules:
- a refund is known by its EndToEndId; a report on a file of ours is about the refunds of that file alone, and what it says of the group
  or its payment information is said of all of them that are not told of by themselves;
- what the bank refuses is taken back like a cancelled refund, and keeps the bank's reason; once the bank has booked it, the booking
  holds, whatever a report says;
- what it accepts stays as it is: the booked debit closes it;
- what it refuses because it has it already stays as it is as well: somebody has given it the file twice;
- a status that no code set has, and a report that contradicts itself, change nothing, and are told and logged: were they taken for a
  refusal, money that goes out would be free to allocate as well. The rest of the report counts;
- the same report again changes nothing.
"""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from shared import audit
from shared.logging import log
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.returns import reason_code
from matching.handlers import refunds
from matching.handlers.refund_names import file_of
from matching.pain002 import Report, Verdict, Word
from matching.storage import refunds as stored
from matching.storage.refunds import Refund

Outcome = Verdict | Literal["booked"]
_BOOKED = frozenset({"paid", "returned"})
ODD = frozenset({"booked", "duplicate", "contradictory", "status_unknown"})
"""What needs a person."""


class Reported(NamedTuple):
    """A refund that a report is about, as it stands now, what became of the report, and the bank's status as it came."""

    refund: Refund
    outcome: Outcome
    bank_status: str | None


async def take(
    conn: AsyncConnection, tenant_id: UUID, report: Report, *, by: str, now: datetime
) -> tuple[UUID | None, list[Reported], list[int]]:
    """Takes a report in: returns its file, if that is ours, its refunds, and the numbers (from 1) of what names no refund that was sent."""
    file_id = await file_of(conn, tenant_id, report.message_id)
    found = await _told_of(conn, tenant_id, file_id, report)
    refused = [(one, word) for one, word in found if word.verdict == "refused" and one.status == "sent"]
    if refused:
        reasons = {one.refund_id: reason_code(word.reason or "") for one, word in refused}
        await refunds.refused_by_bank(conn, tenant_id, [one for one, _ in refused], reasons, by=by, now=now)
        found = await _told_of(conn, tenant_id, file_id, report)
    reported = [Reported(one, _outcome(one, word), word.status) for one, word in found]
    for given, outcome, status in reported:
        if outcome in ODD:
            log.warning("refund_report", refund_id=str(given.refund_id), outcome=outcome, bank_status=status)
    entries = [
        (by, "refund.report", str(one.refund_id), {"outcome": outcome, "status": status, "reason": one.bank_reason})
        for one, outcome, status in reported
    ]
    await audit.record(conn, tenant_id, entries)
    known = {one.end_to_end_id for one, _ in found}
    return file_id, reported, [number for number, end in enumerate(report.told, 1) if end not in known]


async def _told_of(conn: AsyncConnection, tenant_id: UUID, file_id: UUID | None, report: Report) -> list[tuple[Refund, Word]]:
    given = await stored.reported(conn, tenant_id, file_id, list(report.words))
    return [(one, word) for one in given if (word := report.of(one.end_to_end_id))]


def _outcome(given: Refund, word: Word) -> Outcome:
    return "booked" if word.verdict == "refused" and given.status in _BOOKED else word.verdict
