"""`python -m shared.testing.revision SERVICE MESSAGE`: a new migration from the difference between code and schema.

Needs ENCOURS_POSTGRES_ADMIN_URL; works on a throw-away database.
"""

import asyncio
import importlib
import os
import sys

from alembic import command

from shared import migrations
from shared.testing.databases import fresh_database


async def main(service: str, message: str) -> None:
    """Writes services/SERVICE/migrations/versions/NNNN_message.py: read it before you commit it."""
    importlib.import_module(service)
    number = len(list((migrations.directory(service) / "versions").glob("*.py"))) + 1
    async with fresh_database(os.environ["ENCOURS_POSTGRES_ADMIN_URL"], service, migrated=number > 1) as urls:

        def write(connection: object) -> None:
            config = migrations._config(service)  # noqa: SLF001 - the same package
            config.attributes["connection"] = connection
            command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04d}")

        await migrations._with_connection(urls.owner, write)  # noqa: SLF001 - the same package


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
