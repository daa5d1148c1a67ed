"""What a bank says once more of a payment that it has told of: the day on which it is booked, and what was lacking."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.statements import Transaction
from matching.storage.rows import by_keys, fetch, literal, texts


class Said(NamedTuple):
    """What a bank says of a payment once more, and the virtual IBAN of ours that it was sent to.

    `booked_key`: what a statement knows it by, where that is another key than the one it was told of under.
    """

    payment_id: UUID
    one: Transaction
    virtual_iban_id: UUID | None
    booked_key: str | None


_TEXTS = {
    "end_to_end_id": "end_to_end_id",
    "transaction_id": "transaction_id",
    "structured_reference": "structured_reference",
    "debtor_name": "counterparty_name",
    "debtor_iban": "counterparty_iban",
    "ultimate_debtor_name": "ultimate_name",
}
"""Columns that are filled in where they are empty, and what of a transaction stands in them."""
_REFERENCES = {"bank_reference": "bank_reference", "entry_reference": "entry_reference"}
"""Columns in which the later word replaces an earlier one: a bank may give a payment another reference when it books it."""
_LISTS = ", ".join(f"string_to_array(CAST(:{name} AS text), chr(30), '')" for name in (*_TEXTS, *_REFERENCES, "booked_key", "remittance"))
_ROWS = (
    f"unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:virtual AS uuid[]), {_LISTS}) "
    f"AS t(tenant, id, virtual, {', '.join(_TEXTS)}, {', '.join(_REFERENCES)}, booked_key, remittance)"
)
_EMPTY = "cardinality(p.remittance) = 0 AND t.remittance IS NOT NULL"
_LACKING = (
    f"SELECT p.payment_id FROM {_ROWS} CROSS JOIN LATERAL "  # noqa: S608 - our own names
    "(SELECT * FROM payment WHERE tenant_id = t.tenant AND payment_id = t.id OFFSET 0) p WHERE p.confirmation = 'notified' AND ("
    + " OR ".join(f"(p.{name} IS NULL AND t.{name} IS NOT NULL)" for name in _TEXTS)
    + f" OR (p.virtual_iban_id IS NULL AND t.virtual IS NOT NULL) OR ({_EMPTY}))"
)
_FILL_IN = (
    "UPDATE payment SET virtual_iban_id = coalesce(payment.virtual_iban_id, t.virtual), "  # noqa: S608 - our own names
    + ", ".join(f"{name} = coalesce(payment.{name}, t.{name})" for name in _TEXTS)
    + ", "
    + ", ".join(f"{name} = coalesce(t.{name}, payment.{name})" for name in (*_REFERENCES, "booked_key"))
    + f", remittance = CASE WHEN {_EMPTY.replace('p.', 'payment.')} THEN string_to_array(t.remittance, chr(31)) "
    "ELSE payment.remittance END " + by_keys(_ROWS, "ids", "payment", "payment_id")
)
_BOOKED_ON = (
    "UPDATE payment SET booking_date = t.day, statement_id = coalesce(CAST(:statement AS uuid), statement_id) "  # noqa: S608 - our own names
    + by_keys(
        "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(CAST(:days AS text) AS date[])) AS t(tenant, id, day)",
        "ids",
        "payment",
        "payment_id",
    )
    + " AND (booking_date <> t.day OR statement_id IS DISTINCT FROM coalesce(CAST(:statement AS uuid), statement_id))"
)


async def lacking(conn: AsyncConnection, tenant_id: UUID, said: Sequence[Said]) -> set[UUID]:
    """Notified payments that lack some of what is said of them now."""
    return {row[0] for row in await fetch(conn, _LACKING, **_told(tenant_id, said))}


async def fill_in(
    conn: AsyncConnection, tenant_id: UUID, days: Mapping[UUID, date], said: Sequence[Said], statement_id: UUID | None
) -> None:
    """Notes the booking days of payments that the caller has locked, what is said of them that they lacked, and which statement says it."""
    if days:
        await run(
            conn, _BOOKED_ON, tenants=[tenant_id] * len(days), ids=list(days), days=literal(list(days.values())), statement=statement_id
        )
    if said:
        await run(conn, _FILL_IN, **_told(tenant_id, said))


def _told(tenant_id: UUID, said: Sequence[Said]) -> dict[str, object]:
    return {
        "tenants": [tenant_id] * len(said),
        "ids": [row.payment_id for row in said],
        "virtual": [row.virtual_iban_id for row in said],
        **{name: texts(getattr(row.one, value) for row in said) for name, value in (_TEXTS | _REFERENCES).items()},
        "booked_key": texts(row.booked_key for row in said),
        "remittance": texts("\x1f".join(line.replace("\x1f", " ") for line in row.one.remittance) or None for row in said),
    }
