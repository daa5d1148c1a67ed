"""What payments are allocated to, and what was set off: loaded with payments that are locked, changed when their books are saved."""

from collections.abc import Sequence
from datetime import date

from shared.db import run
from sqlalchemy.ext.asyncio import AsyncConnection

from matching.domain.books import Allocation, Books, Exchange, Key
from matching.storage.exchanges import drop_exchanges, put_exchanges
from matching.storage.rows import fetch


async def load_allocations(conn: AsyncConnection, books: Books, payments: Sequence[Key]) -> None:
    """Puts what payments are allocated to into the books that hold them."""
    if not payments:
        return
    rows = await fetch(
        conn,
        "SELECT a.tenant_id, a.payment_id, a.item_id, i.customer_id, i.invoice_number, a.amount_minor, a.rule, "
        "a.diff_minor, a.diff_reason, x.item_amount_minor, x.rate, x.rate_source, x.difference_minor FROM allocation a "
        "JOIN open_item i ON i.tenant_id = a.tenant_id AND i.item_id = a.item_id LEFT JOIN allocation_exchange x "
        "ON x.tenant_id = a.tenant_id AND x.payment_id = a.payment_id AND x.item_id = a.item_id WHERE (a.tenant_id, a.payment_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]))) ORDER BY a.tenant_id, a.payment_id, i.due_date, a.item_id",
        tenants=[key[0] for key in payments],
        ids=[key[1] for key in payments],
    )
    for row in rows:
        books.stored.add((row[0], row[1], row[2]))
        held = books.payments[row[0], row[1]].allocations[row[2]] = Allocation(*row[2:9])
        if row[9] is not None:
            held.exchange = Exchange(*row[9:])


async def restore_value_dates(conn: AsyncConnection, books: Books) -> None:
    """Items of which an allocation was undone: their value date is again that of the latest payment that is left on them."""
    gone = [key for key, held in books.changed_allocations.items() if held is None]
    rows = await fetch(
        conn,
        "SELECT a.tenant_id, a.item_id, a.payment_id, p.value_date FROM allocation a JOIN payment p ON p.tenant_id = a.tenant_id "
        "AND p.payment_id = a.payment_id WHERE (a.tenant_id, a.item_id) IN "
        "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[])))",
        tenants=[key[0] for key in gone],
        ids=[key[2] for key in gone],
    )
    dates: dict[Key, list[date]] = {(tenant, item): [] for tenant, _, item in gone}
    for tenant, item, payment, day in rows:
        if books.changed_allocations.get((tenant, payment, item), day) is not None:
            dates[tenant, item].append(day)
    for (tenant, payment, item), held in books.changed_allocations.items():
        if held is not None and (tenant, item) in dates:
            dates[tenant, item].append(books.payments[tenant, payment].value_date)
    for key, days in dates.items():
        books.items[key].value_date = max(days, default=None)


async def change_allocations(conn: AsyncConnection, books: Books) -> None:
    """Removes and changes allocations of before, writes set-offs and exchanges: rarer than the rest, so not in every batch's statement."""
    gone = [key for key, held in books.changed_allocations.items() if held is None]
    if gone:
        await drop_exchanges(conn, gone)
        await run(
            conn,
            "DELETE FROM allocation WHERE (tenant_id, payment_id, item_id) IN "
            "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:payments AS uuid[]), CAST(:items AS uuid[])))",
            tenants=[key[0] for key in gone],
            payments=[key[1] for key in gone],
            items=[key[2] for key in gone],
        )
    changed = [(key, held) for key, held in books.changed_allocations.items() if held is not None and key in books.stored]
    if changed:
        await run(
            conn,
            "UPDATE allocation SET amount_minor = t.amount, diff_minor = t.diff, diff_reason = t.reason FROM unnest("
            "CAST(:tenants AS uuid[]), CAST(:payments AS uuid[]), CAST(:items AS uuid[]), CAST(:amounts AS bigint[]), "
            "CAST(:diffs AS bigint[]), "
            "CAST(:reasons AS text[])) AS t(tenant, payment, item, amount, diff, reason) WHERE allocation.tenant_id = t.tenant "
            "AND allocation.payment_id = t.payment AND allocation.item_id = t.item",
            tenants=[key[0] for key, _ in changed],
            payments=[key[1] for key, _ in changed],
            items=[key[2] for key, _ in changed],
            amounts=[held.amount_minor for _, held in changed],
            diffs=[held.diff_minor for _, held in changed],
            reasons=[held.diff_reason for _, held in changed],
        )
    exchanged = {key: held.exchange for key, held in books.changed_allocations.items() if held is not None and held.exchange is not None}
    if exchanged:
        await put_exchanges(conn, exchanged)
    if books.changed_set_offs:
        pairs = list(books.changed_set_offs.items())
        await run(
            conn,
            "MERGE INTO set_off s USING unnest(CAST(:tenants AS uuid[]), CAST(:credits AS uuid[]), CAST(:items AS uuid[]), "
            "CAST(:amounts AS bigint[])) AS t(tenant, credit, item, amount) "
            "ON s.tenant_id = t.tenant AND s.credit_item_id = t.credit AND s.item_id = t.item "
            "WHEN MATCHED AND t.amount = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET amount_minor = t.amount "
            "WHEN NOT MATCHED AND t.amount > 0 THEN INSERT (tenant_id, credit_item_id, item_id, amount_minor) "
            "VALUES (t.tenant, t.credit, t.item, t.amount)",
            tenants=[key[0] for key, _ in pairs],
            credits=[key[1] for key, _ in pairs],
            items=[key[2] for key, _ in pairs],
            amounts=[amount for _, amount in pairs],
        )
    if nothing := [key for key, amount in books.changed_set_offs.items() if not amount]:  # nor has a payment any part in it
        await run(
            conn,
            "DELETE FROM payment_set_off WHERE (tenant_id, credit_item_id, item_id) IN "
            "(SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:credits AS uuid[]), CAST(:items AS uuid[])))",
            tenants=[key[0] for key in nothing],
            credits=[key[1] for key in nothing],
            items=[key[2] for key in nothing],
        )
