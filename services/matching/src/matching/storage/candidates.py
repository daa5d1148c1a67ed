"""What a batch of payments names for sure, by virtual IBAN or structured reference: one statement over the whole batch.

Every query leads with the tenant and stays within the payment's legal entity; pairs that a person has undone are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from shared.db import records
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Item, Key, Payment
from matching.domain.cascade import Candidate
from matching.storage.books import ITEM, PAYMENT
from matching.storage.rows import from_lists, keys, literal, texts

_KEPT = (
    "NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id "
    "AND d.item_id = i.item_id OFFSET 0)"
)
DEDUCTION_MAX = 5_000
"""Minor units that a payment may lack of what it names and still be meant for the whole: charges, rounding."""


@dataclass(slots=True)
class Waiting:
    """A payment that is to be decided on, as it is stored: `payer` and `account_id` are who it is said to be from and is on already."""

    tenant_id: UUID
    payment_id: UUID
    entity_id: UUID
    currency: str
    unapplied_minor: int
    booking_date: date
    structured_reference: str | None
    remittance: Sequence[str]
    end_to_end_id: str | None
    debtor_name: str | None
    debtor_iban: str | None
    ultimate_debtor_name: str | None
    instructed_minor: int | None
    instructed_currency: str | None
    virtual_iban_id: UUID | None
    payer: UUID | None
    account_id: UUID | None


_WAITING = (
    "ROW(p.tenant_id, p.payment_id, p.entity_id, p.currency, p.unapplied_minor, p.booking_date, p.structured_reference, p.remittance, "
    "p.end_to_end_id, p.debtor_name, p.debtor_iban, p.ultimate_debtor_name, "
    "CASE WHEN p.unapplied_minor = p.amount_minor THEN p.instructed_minor END, p.instructed_currency, p.virtual_iban_id, "
    "p.payer_customer_id, p.account_id)"
)


def _of(alias: str, columns: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in columns.split(", "))


# Each step is a lookup by whole key, in this order: OFFSET 0 keeps the planner from another one.
_HITS = (
    f"(SELECT r.rule, {_of('i', ITEM)}, i.currency <> p.currency OR (p.unapplied_minor < i.open_minor "  # noqa: S608 - our own text
    f"AND (i.open_minor - p.unapplied_minor <= {DEDUCTION_MAX} OR EXISTS (SELECT 1 FROM item_discount d WHERE d.tenant_id = i.tenant_id "
    "AND d.item_id = i.item_id))) AS inexact "
    "FROM (SELECT 'structured_reference' AS rule, item_id FROM item_reference WHERE tenant_id = p.tenant_id "
    "AND entity_id = p.entity_id AND value = p.structured_reference AND kind = 'structured' "
    "UNION ALL SELECT 'virtual_iban_invoice', invoice_id FROM virtual_iban WHERE tenant_id = p.tenant_id "
    "AND virtual_iban_id = p.virtual_iban_id AND status = 'assigned' OFFSET 0) r "
    "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = p.tenant_id AND item_id = r.item_id OFFSET 0) i "
    f"WHERE i.entity_id = p.entity_id AND {_KEPT}) h"
)
DIRECT = (
    f"SELECT {_of('p', PAYMENT)}, "  # noqa: S608 - our own text
    f"CASE WHEN h.open_minor > 0 AND NOT h.inexact AND p.account_id IS NULL THEN NULL ELSE {_WAITING} END, "
    f"h.rule, h.inexact, {_of('h', ITEM)} FROM "
    "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) "
    "CROSS JOIN LATERAL (SELECT * FROM payment WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id OFFSET 0) p "
    f"LEFT JOIN LATERAL {_HITS} ON true WHERE p.status IN ('received', 'unapplied', 'partly_matched')"
)
_NEW = {"tenant_id": "uuid", "payment_id": "uuid", "entity_id": "uuid", "virtual_iban_id": "uuid", "unapplied_minor": "bigint"}
NAMED = (
    f"SELECT p.payment_id, h.rule, h.inexact, {_of('h', ITEM)} "  # noqa: S608 - our own text
    f"FROM (SELECT * FROM {from_lists('p', _NEW, 'currency', 'structured_reference')} OFFSET 0) p CROSS JOIN LATERAL {_HITS}"
)
_PAYMENT_COLUMNS = PAYMENT.count(",") + 1


class Direct(NamedTuple):
    """Per payment that is to be decided on: how it is booked, the items named by virtual IBAN or structured reference with
    the rule, and, where none of these settles it for sure or it is on an account already, what else it says. `items` are those named.

    All are as one moment had them, and nothing of it is locked.
    """

    payments: dict[Key, Payment]
    hits: dict[Key, list[tuple[str, Candidate]]]
    waiting: dict[Key, Waiting]
    items: dict[Key, Item]


async def direct(conn: AsyncConnection, payments: Sequence[Key]) -> Direct:
    """What virtual IBANs of one invoice and structured references name, and the payments that need more than that."""
    found = Direct({}, {}, {}, {})
    for row in await records(conn, DIRECT, **keys(payments)):
        key = (row[0], row[1])
        if key not in found.payments:
            found.payments[key] = Payment(*row[:_PAYMENT_COLUMNS])
        waiting, rule, inexact, *named = row[_PAYMENT_COLUMNS:]
        if waiting is not None:
            found.waiting[key] = Waiting(*waiting)
        if rule is not None:
            found.hits.setdefault(key, []).append((rule, _candidate(found.items, inexact, *named)))
    return found


async def named(conn: AsyncConnection, payments: Sequence[tuple[Payment, str | None]]) -> Direct:
    """The same of payments that are not stored yet, each with its structured reference: what names items, and these."""
    found = Direct({}, {}, {}, {})
    for payment_id, rule, inexact, *item in await records(
        conn,
        NAMED,
        p_tenant_id=[one.tenant_id for one, _ in payments],
        p_payment_id=[one.payment_id for one, _ in payments],
        p_entity_id=[one.entity_id for one, _ in payments],
        p_virtual_iban_id=[one.virtual_iban_id for one, _ in payments],
        p_unapplied_minor=literal([one.unapplied_minor for one, _ in payments]),
        p_currency=texts(one.currency for one, _ in payments),
        p_structured_reference=texts(reference for _, reference in payments),
    ):
        found.hits.setdefault((item[0], payment_id), []).append((rule, _candidate(found.items, inexact, *item)))
    return found


def _candidate(items: dict[Key, Item], inexact: Any, *row: Any) -> Candidate:
    """An item that was found, from its row; it goes to the others."""
    item = Item(*row)
    items.setdefault((item.tenant_id, item.item_id), item)
    return Candidate(
        item.item_id, item.account_id, item.customer_id, item.open_minor, item.currency, item.invoice_number, item.due_date, inexact,
        item.written_off_minor,
    )  # fmt: skip
