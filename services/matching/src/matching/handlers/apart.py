"""Several statements of one day: what each tells for the first time. Balances prove it.

Rules:
- what a bank's reference does not tell apart is told apart by a number among equal ones of its statement (`Ordinals`);
- where balances prove that a statement has none of the entries that others of its days had, its own are numbered behind those;
- nor is an entry of such a statement what another one booked, though the EndToEndId is the same: payers use it again;
- where balances prove that earlier files of another format had all of a day's entries, or that it is a page of such a day (then its
  amounts do, too), it tells nothing new of that day, whatever its texts and references look like there, but for the details of batch
  totals that lack them;
- nor does one that comes again under its number in its own format, whatever its texts look like there, but for what the bank refers to
  otherwise;
- what is only notified has no statement yet: it keeps its number, and the entry confirms it.
"""

import re
from collections.abc import Sequence
from uuid import UUID

from shared.ids import named_id
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.reconciliation import stands_apart, told_days
from matching.handlers.ingest import Line, Origin
from matching.storage import bank, movements, statements
from matching.storage.bank import BankAccount

_NUMBERED = re.compile(r"(.*\|[0-9]{4}-[0-9]{2}-[0-9]{2})(?:#([0-9]+))?", re.ASCII | re.DOTALL)
"""A key without a reference of the bank's ends with its day; then comes the number among equal ones, from the second on."""


async def told_by(
    conn: AsyncConnection, held: BankAccount, statement_id: UUID, kind: str, lines: Sequence[Line]
) -> tuple[Origin, Sequence[Line]]:
    """What some of a statement's lines tell that no other one of its days told, under the keys by which it is booked."""
    days = await statements.of_its_days(conn, held.tenant_id, statement_id)
    if not days:
        return Origin(statement_id, kind, apart=False), lines
    one, *others = days
    earlier = [each for each in others if each.earlier]
    told = told_days(one, (each for each in earlier if each.kind != kind), [each for each in others if each.kind == kind])
    again = told_days(one, (each for each in earlier if one.number and (each.kind, each.number) == (kind, one.number)))
    if told or again:
        new, known = list[Line](), list[Line]()
        for key, line in lines:
            old = line.status == "booked" and (line.day in told or (line.day in again and not key.startswith("ref:")))
            (known if old else new).append((key, line))
        return Origin(statement_id, kind, apart=False), [*new, *await _details(conn, held, known)]
    apart = stands_apart(one, others)
    return Origin(statement_id, kind, apart), await _on_its_own(conn, held, lines) if apart else lines


async def _details(conn: AsyncConnection, held: BankAccount, lines: Sequence[Line]) -> Sequence[Line]:
    """Those of the lines that are details which a batch total lacks."""
    lacking = await movements.lacking_details(conn, held, [one.entry_reference for _, one in lines if one.entry_reference])
    return [(key, one) for key, one in lines if one.kind == "payment" and one.entry_reference in lacking]


async def _on_its_own(conn: AsyncConnection, held: BankAccount, lines: Sequence[Line]) -> Sequence[Line]:
    """The lines of a statement that stands apart, under keys that no equal entry has which another statement booked."""
    asked = {at: key for at, (key, one) in enumerate(lines) if one.status == "booked" and not key.startswith("ref:")}
    found, given = list(lines), set[str]()
    while asked:
        booked = await _booked(conn, held, list(asked.values()))
        taken = {at: key for at, key in asked.items() if key in booked or key in given}
        for at in asked.keys() - taken.keys():
            given.add(asked[at])
            found[at] = (asked[at], lines[at][1])
        asked = {at: _next(key) for at, key in taken.items()}
    return found


async def _booked(conn: AsyncConnection, held: BankAccount, keys: list[str]) -> set[str]:
    """Those of the keys under which something is booked on the account: a payment, or a movement that is none."""
    payments = await bank.known(conn, held.tenant_id, held.bank_account_id, keys)
    ids = {named_id("movement", held.tenant_id, held.bank_account_id, key): key for key in keys}
    there = await movements.booked_on(conn, held.tenant_id, list(ids))
    return {key for key, match in payments.items() if match.confirmation == "booked"} | {ids[movement] for movement in there}


def _next(key: str) -> str:
    found = _NUMBERED.fullmatch(key)
    if found is None:
        raise ValueError("a key without a day")
    return f"{found[1]}#{int(found[2] or 1) + 1}"
