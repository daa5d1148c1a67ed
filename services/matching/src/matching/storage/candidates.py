"""What a batch of payments points to: one statement per step of the cascade, over the whole batch, without locks.

Every query leads with the tenant and stays within the payment's legal entity; pairs that a person has undone are left out.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from shared.aliases import survivor
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.cascade import Candidate, Clues
from matching.storage.books import keys
from matching.storage.rows import fetch

_OPEN = "p.status IN ('received', 'unapplied', 'partly_matched')"
_KEPT = (
    "NOT EXISTS (SELECT 1 FROM dismissed_pair d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id "
    "AND d.item_id = i.item_id OFFSET 0)"
)
_ITEM = "i.item_id, i.account_id, i.customer_id, i.open_minor, i.currency, i.invoice_number, i.due_date"
# Each step is a lookup by whole key, in this order: OFFSET 0 keeps the planner from another one.
_BATCH = (
    "unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS k(tenant_id, payment_id) "
    "CROSS JOIN LATERAL (SELECT * FROM payment WHERE tenant_id = k.tenant_id AND payment_id = k.payment_id OFFSET 0) p"
)

_DIRECT = (
    f"SELECT p.tenant_id, p.payment_id, r.rule, {_ITEM} FROM {_BATCH} "  # noqa: S608 - our own text
    "CROSS JOIN LATERAL (SELECT 'structured_reference' AS rule, item_id FROM item_reference WHERE tenant_id = p.tenant_id "
    "AND entity_id = p.entity_id AND value = p.structured_reference AND kind = 'structured' "
    "UNION ALL SELECT 'virtual_iban_invoice', invoice_id FROM virtual_iban WHERE tenant_id = p.tenant_id "
    "AND virtual_iban_id = p.virtual_iban_id AND status = 'assigned' OFFSET 0) r "
    "CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = p.tenant_id AND item_id = r.item_id OFFSET 0) i "
    f"WHERE i.entity_id = p.entity_id AND {_OPEN} AND {_KEPT}"
)


async def direct(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, list[tuple[str, Candidate]]]:
    """The items that virtual IBANs of one invoice and structured references name, with the rule, per payment."""
    found: dict[Key, list[tuple[str, Candidate]]] = {}
    for row in await fetch(conn, _DIRECT, **keys(payments)):
        found.setdefault((row[0], row[1]), []).append((row[2], Candidate(*row[3:])))
    return found


async def clues(conn: AsyncConnection, payments: Sequence[Key]) -> dict[Key, tuple[UUID, Clues]]:
    """Entity and clues of payments that are to be looked at, by key."""
    rows = await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id, p.entity_id, p.currency, p.unapplied_minor, "  # noqa: S608 - our own text
        "p.structured_reference, p.remittance, p.end_to_end_id, "
        f"{survivor('v.tenant_id', 'v.customer_id')}, (SELECT array_agg(DISTINCT {survivor('o.tenant_id', 'o.customer_id')}) "
        "FROM (SELECT tenant_id, customer_id FROM payer_iban WHERE tenant_id = p.tenant_id AND iban = p.debtor_iban UNION ALL "
        "SELECT tenant_id, customer_id FROM payer_alias WHERE tenant_id = p.tenant_id AND kind = 'iban' AND value = p.debtor_iban) o), "
        "coalesce((SELECT i.customer_id FROM open_item i WHERE i.tenant_id = v.tenant_id AND i.item_id = v.invoice_id), "
        "(SELECT n.customer_id FROM payment_instruction n WHERE n.tenant_id = v.tenant_id AND n.virtual_iban_id = v.virtual_iban_id)) "
        f"FROM {_BATCH} LEFT JOIN virtual_iban v ON v.tenant_id = p.tenant_id "
        f"AND v.virtual_iban_id = p.virtual_iban_id AND v.status = 'assigned' WHERE {_OPEN}",
        **keys(payments),
    )
    return {
        (row[0], row[1]): (
            row[2],
            Clues(row[3], row[4], row[5], row[6], row[7], [row[8] or row[10]] if row[8] or row[10] else (row[9] or [])),
        )
        for row in rows
    }


async def named(conn: AsyncConnection, asked: Iterable[tuple[UUID, UUID, UUID, str]]) -> dict[Key, list[Candidate]]:
    """The items, open or not, that carry one of the values: asked are (tenant, payment, entity, normalised value)."""
    rows = list(asked)
    found: dict[Key, list[Candidate]] = {}
    for row in await fetch(
        conn,
        f"SELECT p.tenant_id, p.payment_id, {_ITEM}, p.value, r.kind FROM unnest(CAST(:tenants AS uuid[]), "  # noqa: S608 - our own text
        "CAST(:ids AS uuid[]), "
        "CAST(:entities AS uuid[]), CAST(:values AS text[])) AS p(tenant_id, payment_id, entity_id, value) "
        "CROSS JOIN LATERAL (SELECT item_id, kind FROM item_reference WHERE tenant_id = p.tenant_id AND entity_id = p.entity_id "
        "AND value = p.value OFFSET 0) r CROSS JOIN LATERAL (SELECT * FROM open_item WHERE tenant_id = p.tenant_id "
        f"AND item_id = r.item_id OFFSET 0) i WHERE i.kind <> 'credit_note' AND {_KEPT}",
        tenants=[row[0] for row in rows],
        ids=[row[1] for row in rows],
        entities=[row[2] for row in rows],
        values=[row[3] for row in rows],
    ):
        found.setdefault((row[0], row[1]), []).append(Candidate(*row[2:]))
    return found


CANDIDATES_MAX = 5
"""Items of the same amount that are shown for one payment."""


async def of_amount(conn: AsyncConnection, asked: Iterable[tuple[UUID, UUID, UUID, str, int, UUID | None]]) -> dict[Key, list[Candidate]]:
    """Undisputed open items of exactly an amount: asked are (tenant, payment, entity, currency, amount, account or None for all)."""
    rows = list(asked)
    found: dict[Key, list[Candidate]] = {}
    for row in await fetch(
        conn,
        "SELECT p.tenant_id, p.payment_id, i.* FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), "  # noqa: S608 - our own text
        "CAST(:entities AS uuid[]), "
        "CAST(:currencies AS text[]), CAST(:amounts AS bigint[]), CAST(:accounts AS uuid[])) "
        f"AS p(tenant_id, payment_id, entity_id, currency, amount, account_id) CROSS JOIN LATERAL (SELECT {_ITEM} FROM open_item i "
        "WHERE i.tenant_id = p.tenant_id AND i.entity_id = p.entity_id AND i.open_minor = p.amount AND i.status = 'open' "
        "AND i.currency = p.currency AND (p.account_id IS NULL OR i.account_id = p.account_id) AND i.contested_minor = 0 "
        f"AND i.kind <> 'credit_note' AND {_KEPT} ORDER BY i.due_date, i.item_id LIMIT {CANDIDATES_MAX}) i",
        tenants=[row[0] for row in rows],
        ids=[row[1] for row in rows],
        entities=[row[2] for row in rows],
        currencies=[row[3] for row in rows],
        amounts=[row[4] for row in rows],
        accounts=[row[5] for row in rows],
    ):
        found.setdefault((row[0], row[1]), []).append(Candidate(*row[2:]))
    return found
