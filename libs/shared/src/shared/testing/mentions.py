"""Where a database still holds a text: every column of every table, bytes included. For tests of erasure."""

import asyncpg


async def mentions(owner_url: str, *texts: str) -> list[str]:
    """`table.column: text` for each column that holds one of the texts, whatever its type and case. Read as the tables' owner."""
    conn = await asyncpg.connect(owner_url)
    try:
        columns = await conn.fetch(
            "SELECT c.table_name, c.column_name, c.data_type FROM information_schema.columns c JOIN pg_class t ON t.relname = c.table_name "
            "WHERE c.table_schema = 'public' AND t.relkind IN ('r', 'p') AND t.relnamespace = 'public'::regnamespace "
            "AND NOT t.relispartition ORDER BY 1, 2"
        )
        tables = {row["table_name"] for row in columns}
        for table in sorted(tables):  # the owner is under forced row-level security as well
            await conn.execute(f'ALTER TABLE "{table}" NO FORCE ROW LEVEL SECURITY')
        found = []
        for table, column, kind in columns:
            shown = f"encode(\"{column}\", 'escape')" if kind == "bytea" else f'"{column}"::text'
            for text in texts:
                query = f'SELECT count(*) FROM "{table}" WHERE position(lower($1) IN lower({shown})) > 0'  # noqa: S608 - names of our own tables
                if await conn.fetchval(query, text):
                    found.append(f"{table}.{column}: {text}")
        for table in sorted(tables):
            await conn.execute(f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY')
        return found
    finally:
        await conn.close()
