"""Payments that are settled as they are booked: each names one item, which owes at least all that it brings (ADR 18).

Nobody knows of them yet, so nothing is locked; what they name is written over the version that was read, as for all new payments (ADR 15).
What needs more than that is booked only, and decided on when its PaymentReceived comes round: the engine's, what is too much or lacks
little, of several that name one item all but the first, and everything where an announcement or a promise may be meant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from contracts.envelope import Envelope, event_id
from contracts.payments import PaymentReceived
from prometheus_client import Counter
from shared.clock import machine_now
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Books, Key
from matching.domain.cascade import Candidate, direct
from matching.handlers.matching import Batch, carry_out
from matching.handlers.publishing import save_and_publish
from matching.storage import bank, candidates
from matching.storage.books import ChangedError, Decided, by_key, lock
from matching.storage.candidates import Direct

LEFT = Counter("encours_left_to_the_worker_total", "What was only booked, because deciding on it failed.", ["what"])


@dataclass(slots=True)
class Settled:
    """What was decided on payments that are about to be stored."""

    books: Books
    decisions: list[Decided]


async def settle_sure(conn: AsyncConnection, new: Sequence[bank.New]) -> Settled:
    """Decides on those of new payments of one tenant that name for sure what they pay: they then stand as they are to be stored.

    All that the transaction still asks is looked up by key (`by_key`).
    """
    tenant_id = new[0].payment.tenant_id
    if (await by_key(conn, [tenant_id])).payments_expected:  # the debtor's own word goes first
        return Settled(Books(), [])
    found = await candidates.named(conn, [(one.payment, one.told.structured_reference) for one in new])
    sure = _sure(new, found)
    books = Books(payments={key: one.payment for one in new if (key := (tenant_id, one.payment.payment_id)) in sure}, items=found.items)
    books.booked = frozenset(books.payments)
    await lock(conn, accounts=[(tenant_id, one.account_id) for _, one in sure.values()], read=books)
    batch = Batch(machine_now())
    for key, payment in books.payments.items():
        carry_out(books, payment, direct([sure[key]]), batch)
        payment.version += 1  # it is stored as it is told of then
    return Settled(books, batch.decisions)


def _sure(new: Sequence[bank.New], found: Direct) -> Mapping[Key, tuple[str, Candidate]]:
    """Of each payment that is settled the rule and the item."""
    sure: dict[Key, tuple[str, Candidate]] = {}
    taken: set[UUID] = set()
    for one in new:
        key = (one.payment.tenant_id, one.payment.payment_id)
        hits = found.hits.get(key, [])
        if len(hits) != 1:
            continue
        item = hits[0][1]
        enough = item.open_minor >= one.payment.unapplied_minor and not item.inexact
        if enough and item.item_id not in taken and found.items[key[0], item.item_id].kind != "credit_note":
            sure[key] = hits[0]
            taken.add(item.item_id)
    return sure


async def tell(conn: AsyncConnection, settled: Settled, stored: set[UUID], now: datetime) -> None:
    """Writes and publishes what was decided, once the payments are stored. Raises ChangedError where one of them was there already."""
    books = settled.books
    if any(key[1] not in stored for key in books.booked):
        raise ChangedError("a payment was booked at the same moment")
    name, recorded = PaymentReceived.__name__, machine_now()
    causes = {
        key: Envelope(
            id=event_id(key[0], PaymentReceived, key[1], 1), type=name, source="/encours/matching", time=recorded, tenantid=key[0]
        )
        for key in books.booked
    }
    await save_and_publish(conn, books, now, causes, decisions=settled.decisions)
