"""SQL that forgets who erased customers are: names, IBANs, free text of their payments, what people wrote or taught about them,
the inputs of decisions in which they are named (these cannot be replayed any more, and say so).

What stays, on the ground of accounting law: payments with amounts, dates, references and the bank's own numbers; the ledger;
payment order files and the statements of bank files, without the files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Key
from matching.domain.engine.parties import compact
from matching.domain.engine.records import NOBODY
from matching.storage.rows import fetch, keys

_ERASED = "erased AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, customer_id)), "
_ITEMS = (
    "items AS (SELECT i.tenant_id, i.item_id FROM erased e JOIN open_item i ON i.tenant_id = e.tenant_id AND i.customer_id = e.customer_id "
    "UNION SELECT i.tenant_id, i.item_id FROM erased e JOIN open_item i ON i.tenant_id = e.tenant_id "
    "AND i.moved_from_customer_id = e.customer_id) "
)
_PAYMENTS = (
    "paid AS (SELECT p.tenant_id, p.payment_id FROM payment p JOIN erased e ON e.tenant_id = p.tenant_id "
    "AND e.customer_id IN (p.payer_customer_id, p.moved_from_customer_id) "
    "UNION SELECT a.tenant_id, a.payment_id FROM items JOIN allocation a USING (tenant_id, item_id)) "
)


@dataclass(frozen=True, slots=True)
class Signs:
    """By what the customers of a tenant that are erased may be known where no id names them: IBANs of theirs alone, and names."""

    ibans: frozenset[str]
    names: frozenset[str]


async def signs(conn: AsyncConnection, customers: Sequence[Key]) -> dict[UUID, Signs]:
    """The signs of customers, by tenant, as long as they are known: to be asked before they are forgotten."""
    rows = await fetch(
        conn,
        "WITH erased AS (SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])) AS t(tenant_id, customer_id)) "
        "SELECT e.tenant_id, 'iban', o.iban FROM erased e JOIN payer_iban o USING (tenant_id, customer_id) WHERE NOT EXISTS ("
        "SELECT 1 FROM payer_iban x WHERE x.tenant_id = o.tenant_id AND x.iban = o.iban "
        "AND (x.tenant_id, x.customer_id) NOT IN (SELECT * FROM erased)) UNION "
        "SELECT e.tenant_id, 'name', n.name FROM erased e JOIN customer_identity n USING (tenant_id, customer_id) UNION "
        "SELECT e.tenant_id, 'name', a.value FROM erased e JOIN payer_alias a USING (tenant_id, customer_id) WHERE a.kind = 'name'",
        **keys(customers),
    )
    found: dict[UUID, dict[str, set[str]]] = {}
    for tenant, kind, value in rows:
        found.setdefault(tenant, {"iban": set(), "name": set()})[kind].add(value)
    return {tenant: Signs(frozenset(one["iban"]), frozenset(one["name"])) for tenant, one in found.items()}


async def forget_set_apart(conn: AsyncConnection, tenant_id: UUID, known: Signs) -> None:
    """What was set apart from the account of an erased customer, or under such a name, is nothing that is learnt any more."""
    nobody = {"tenant": tenant_id, "nobody": NOBODY}
    rows = await fetch(
        conn, "SELECT value FROM payer_alias WHERE tenant_id = :tenant AND customer_id = :nobody AND kind = 'name'", **nobody
    )
    names = {compact(name) for name in known.names} - {""}
    await run(
        conn,
        "DELETE FROM payer_alias WHERE tenant_id = :tenant AND customer_id = :nobody AND (kind, value) IN "
        "(SELECT 'iban', unnest(CAST(:ibans AS text[])) UNION ALL SELECT 'name', unnest(CAST(:names AS text[])))",
        **nobody,
        ibans=sorted(known.ibans),
        names=[row[0] for row in rows if compact(row[0]) in names],
    )


async def forget_refunds(conn: AsyncConnection, tenant_id: UUID, refunds: Sequence[UUID]) -> None:
    """Erases whom refunds went to that are over, where that was a customer who is erased since they were asked for."""
    await run(
        conn,
        "UPDATE refund r SET creditor_name = '', creditor_iban = '', reason = '' FROM payment p JOIN customer_identity n "
        "ON n.tenant_id = p.tenant_id AND n.customer_id = p.payer_customer_id AND n.name = '' "
        "WHERE r.tenant_id = :tenant AND r.refund_id = ANY(CAST(:ids AS uuid[])) AND p.tenant_id = r.tenant_id "
        "AND p.payment_id = r.payment_id",
        tenant=tenant_id,
        ids=list(refunds),
    )


async def forget(conn: AsyncConnection, customers: Sequence[Key]) -> None:
    """Erases what these tables hold of customers, whatever of it is there. Reads all payments of their tenants once."""
    wanted = keys(customers)
    await run(
        conn,
        f"WITH {_ERASED}{_ITEMS}, {_PAYMENTS}, locked AS (SELECT p.tenant_id, p.payment_id FROM payment p JOIN paid USING "  # noqa: S608 - our own text
        "(tenant_id, payment_id) ORDER BY p.tenant_id, p.payment_id FOR UPDATE OF p) "
        "UPDATE payment p SET debtor_name = NULL, debtor_iban = NULL, ultimate_debtor_name = NULL, remittance = '{}' FROM locked l "
        "WHERE p.tenant_id = l.tenant_id AND p.payment_id = l.payment_id",
        **wanted,
    )
    await run(
        conn,
        f"WITH {_ERASED}{_ITEMS}, {_PAYMENTS} UPDATE refund r SET creditor_name = '', creditor_iban = '', reason = '' FROM paid "  # noqa: S608 - our own text
        "WHERE r.tenant_id = paid.tenant_id AND r.payment_id = paid.payment_id "
        "AND r.status IN ('paid', 'returned', 'refused', 'cancelled')",
        **wanted,
    )
    await run(
        conn,
        f"WITH {_ERASED}{_ITEMS}, {_PAYMENTS} UPDATE dismissed_pair d SET reason = '' FROM paid "  # noqa: S608 - our own text
        "WHERE d.tenant_id = paid.tenant_id AND d.payment_id = paid.payment_id",
        **wanted,
    )
    await run(
        conn,
        f"WITH {_ERASED}{_ITEMS} UPDATE write_off w SET note = NULL FROM items "  # noqa: S608 - our own text
        "WHERE w.tenant_id = items.tenant_id AND w.item_id = items.item_id AND w.note IS NOT NULL",
        **wanted,
    )
    await run(
        conn,
        f"WITH {_ERASED}{_ITEMS}, {_PAYMENTS} UPDATE decision d SET inputs = NULL WHERE d.inputs IS NOT NULL AND ("  # noqa: S608 - our own text
        "EXISTS (SELECT 1 FROM erased e WHERE e.tenant_id = d.tenant_id AND e.customer_id = ANY(d.named_customers)) "
        "OR EXISTS (SELECT 1 FROM paid WHERE paid.tenant_id = d.tenant_id AND paid.payment_id = d.payment_id))",
        **wanted,
    )
    await run(
        conn,
        f"WITH {_ERASED}{_ITEMS}, {_PAYMENTS} DELETE FROM payment_clue c USING paid "  # noqa: S608 - our own text
        "WHERE c.tenant_id = paid.tenant_id AND c.payment_id = paid.payment_id",
        **wanted,
    )
    for table in ("payer_iban", "payer_alias", "customer_name"):
        await run(
            conn,
            f"DELETE FROM {table} WHERE (tenant_id, customer_id) IN "  # noqa: S608 - our own text
            "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
            **wanted,
        )
