"""What a migration changes of rows it changes of every tenant's: its role sees none under forced row-level security."""

import asyncpg
from shared.ids import new_id
from shared.testing.databases import fresh_database
from stepwise import insert, seen, two, upgrade

CLOSING = {"camt.052": "9", "camt.053": "1", "camt.054": "NULL"}
ROLES = [("camt.052", "report"), ("camt.053", "statement"), ("camt.054", "notification")]
UNFORCED = (
    "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' "
    "WHERE c.relkind = 'r' AND c.relrowsecurity AND NOT c.relforcerowsecurity"
)


async def test_rows_of_every_tenant_are_brought_along(infrastructure):
    """From the revision before each migration that changes rows; nothing else may change of them on the way."""
    tenants, payment = two(), new_id()
    async with fresh_database(infrastructure.admin_dsn, "matching", migrated=False) as urls:
        await upgrade(urls, "0006")
        for status in ("released", "pool"):
            await insert(urls, tenants, "virtual_iban", status=f"'{status}'", iban=f"'{status}'", customer_id="gen_random_uuid()")
        for kind in ("camt.052", "camt.053", "camt.054"):
            await insert(
                urls,
                tenants,
                "statement",
                kind=f"'{kind}'",
                number=f"'{kind}'",
                verdict="'booked'",
                opening_minor="1",
                closing_minor=CLOSING[kind],
            )
        await upgrade(urls, "0019")
        how = {"confirmation": "'booked'"}
        await insert(
            urls, tenants, "payment", payment_id=f"'{payment}'", amount_minor="500", unapplied_minor="500", **how, status="'unapplied'"
        )
        await insert(urls, tenants, "allocation_exchange", payment_id=f"'{payment}'")
        await upgrade(urls, "0021")
        gone = how | {"amount_minor": "500", "returned_minor": "500", "status": "'returned'"}
        ids = {reason: new_id() for reason in ("withdrawn", "ac04")}
        for reason, one in ids.items():
            await insert(
                urls, tenants, "payment", payment_id=f"'{one}'", return_reason=f"'{reason}'", transaction_key=f"'{reason}'", **gone
            )
            for amount in (200, 300):
                entry = {"payment_id": f"'{one}'", "debit": "'unapplied'", "credit": "'bank'", "amount_minor": str(amount)}
                await insert(urls, tenants, "ledger_entry", **entry)
        await upgrade(urls, "0032")
        for status in ("settled", "open"):
            await insert(urls, tenants, "recall", status=f"'{status}'", amount_minor="700")
        await upgrade(urls, "head")
        assert await seen(urls, "SELECT status, released_at IS NOT NULL FROM virtual_iban ORDER BY 1") == (
            [("pool", False)] * 2 + [("released", True)] * 2
        )
        assert sorted(set(await seen(urls, "SELECT kind, role FROM statement"))) == ROLES
        assert len(await seen(urls, "SELECT booking_date FROM allocation_exchange WHERE booking_date = '2026-03-02'")) == 2
        withdrawn = await seen(urls, "SELECT return_reason, withdrawn_minor FROM payment WHERE return_reason IS NOT NULL ORDER BY 1")
        assert withdrawn == [("ac04", 0)] * 2 + [("withdrawn", 300)] * 2
        assert await seen(urls, "SELECT status, settled_minor FROM recall ORDER BY 1") == [("open", None)] * 2 + [("settled", 700)] * 2
        assert await seen(urls, UNFORCED) == []


async def test_a_report_that_counts_as_a_statement_is_one_no_more(infrastructure):
    """As on a database that has passed 0008 while it saw no rows."""
    tenants = two()
    async with fresh_database(infrastructure.admin_dsn, "matching", migrated=False) as urls:
        await upgrade(urls, "0043")
        for kind in CLOSING:
            await insert(urls, tenants, "statement", kind=f"'{kind}'", number=f"'{kind}'", verdict="'booked'", role="'statement'")
        await upgrade(urls, "head")
        assert sorted(set(await seen(urls, "SELECT kind, role FROM statement"))) == ROLES


async def test_names_in_other_scripts_are_known_by_their_letters(infrastructure):
    """As names in Latin letters were all along, which stay as they are."""
    tenants, cyrillic, latin = two(), new_id(), new_id()
    async with fresh_database(infrastructure.admin_dsn, "matching", migrated=False) as urls:
        await upgrade(urls, "0044")
        for customer, name, known in ((latin, "Garden 2000", "GARDEN2000"), (cyrillic, "Балкан 2000", "2000")):
            await insert(urls, tenants, "customer_identity", customer_id=f"'{customer}'", name=f"'{name}'")
            await insert(urls, tenants, "customer_name", customer_id=f"'{customer}'", value=f"'{known}'")
        await upgrade(urls, "head")
        known = await seen(urls, "SELECT customer_id, value FROM customer_name")
        assert sorted(known, key=str) == sorted([(cyrillic, name.replace(" ", "").upper()), (latin, "GARDEN2000")] * 2, key=str)
        assert await seen(urls, UNFORCED) == []


async def test_the_owner_of_the_tables_sees_no_tenants_rows(infrastructure):
    """Why a migration has to lift the security of what it changes."""
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        await insert(urls, two(), "recall", status="'open'")
        owner = await asyncpg.connect(urls.owner)
        assert await owner.fetchval("SELECT count(*) FROM recall") == 0
        await owner.close()
