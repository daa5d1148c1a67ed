"""The inbox: each fact has one effect per consumer.

Invariants: the row goes in within the transaction of the effect, in one statement per batch; the key holds the event's
own day (`ce_time`), by which the table is partitioned; a fact older than `KEPT` is not taken, for its row may be gone.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from contracts.envelope import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db import fetch

KEPT = timedelta(days=45)
"""Longer than any retry or dead-letter replay."""


async def claim(conn: AsyncConnection, consumer: str, messages: Sequence[Message[Any]]) -> list[Message[Any]]:
    """Those of the messages (of one topic) that this consumer has not handled before, each once, in their order."""
    by_id = {message.envelope.id: message for message in reversed(messages)}
    rows = await fetch(
        conn,
        "INSERT INTO inbox (consumer, event, event_id, ce_time) "
        "SELECT :consumer, :event, id, at FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS t(id, at) "
        "ON CONFLICT DO NOTHING RETURNING event_id",
        consumer=consumer,
        event=messages[0].envelope.type,
        ids=sorted(by_id),
        times=[by_id[key].envelope.time for key in sorted(by_id)],
    )
    new = {row.event_id for row in rows}
    return [message for message in {m.envelope.id: m for m in messages}.values() if message.envelope.id in new]
