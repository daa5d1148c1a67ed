"""What a batch of payments names for sure, by virtual IBAN or structured reference: one statement over the whole batch.

Every query leads with the tenant and stays within the payment's legal entity; pairs that a person has undone are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple
from uuid import UUID

from shared.db import records
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Item, Key, Payment
from matching.domain.cascade import Candidate
from matching.storage.books import ITEM, PAYMENT
from matching.storage.rows import keys

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
DIRECT = (
    f"SELECT {_of('p', PAYMENT)}, "  # noqa: S608 - our own text
    f"CASE WHEN h.open_minor > 0 AND NOT h.inexact AND p.account_id IS NULL THEN NULL ELSE {_WAITING} END, "
    f"h.rule, h.inexact, {_of('h', ITEM)} FROM "
    "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) "
    "CROSS JOIN LATERAL (SELECT * FROM payment WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id OFFSET 0) p "
    f"LEFT JOIN LATERAL (SELECT r.rule, {_of('i', ITEM)}, i.currency <> p.currency OR (p.unapplied_minor < i.open_minor "
    f"AND (i.open_minor - p.unapplied_minor <= {DEDUCTION_MAX} OR EXISTS (SELECT 1 FROM item_discount d WHERE d.tenant_id = i.tenant_id "
    "AND d.item_id = i.item_id))) AS inexact "
    "FROM (SELECT 'structured_reference' AS rule, item_id FROM item_reference WHERE tenant_id = p.tenant_id "
    "AND entity_id = p.entity_id AND value = p.structured_reference AND kind = 'structured' "
    "UNION ALL SELECT 'virtual_iban_invoice', invoice_id FROM virtual_iban WHERE tenant_id = p.tenant_id "
    "AND virtual_iban_id = p.virtual_iban_id AND status = 'assigned' OFFSET 0) r "
    "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = p.tenant_id AND item_id = r.item_id OFFSET 0) i "
    f"WHERE i.entity_id = p.entity_id AND {_KEPT}) h ON true WHERE p.status IN ('received', 'unapplied', 'partly_matched')"
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
            item = Item(*named)
            found.items.setdefault((item.tenant_id, item.item_id), item)
            candidate = Candidate(
                item.item_id, item.account_id, item.customer_id, item.open_minor, item.currency, item.invoice_number, item.due_date, inexact
            )
            found.hits.setdefault(key, []).append((rule, candidate))
    return found
