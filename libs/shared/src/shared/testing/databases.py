"""A fresh database per test module, with the same roles and rights as in production."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from shared import migrations

PASSWORD = "test"  # noqa: S105 - of throw-away servers


@dataclass(frozen=True, slots=True)
class Urls:
    """One database through its four roles."""

    database: str
    app: str
    owner: str
    relay: str
    check: str

    def environment(self) -> dict[str, str]:
        """The settings that name them."""
        return {
            "ENCOURS_DATABASE_URL": self.app,
            "ENCOURS_OWNER_DATABASE_URL": self.owner,
            "ENCOURS_RELAY_DATABASE_URL": self.relay,
            "ENCOURS_CHECK_DATABASE_URL": self.check,
        }


async def ensure_roles(admin: asyncpg.Connection, service: str, password: str = PASSWORD) -> None:
    """Creates a service's four roles where they are missing."""
    await admin.execute("SELECT pg_advisory_lock(hashtext('roles'))")
    try:
        for role, extra in ((service, ""), (f"{service}_owner", ""), (f"{service}_relay", ""), (f"{service}_check", "BYPASSRLS")):
            if not await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await admin.execute(f"CREATE ROLE {role} LOGIN {extra}")
            await admin.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
            await admin.execute(f"ALTER ROLE {role} SET app.tenants = '{{}}'")
    finally:
        await admin.execute("SELECT pg_advisory_unlock(hashtext('roles'))")


@asynccontextmanager
async def fresh_database(admin_dsn: str, service: str, *, migrated: bool = True) -> AsyncIterator[Urls]:
    """A new database of a service, migrated to the newest schema; dropped at the end."""
    name = f"t_{service}_{os.getpid()}_{os.urandom(4).hex()}"
    admin = await asyncpg.connect(admin_dsn)
    try:
        await ensure_roles(admin, service)
        await admin.execute(f"CREATE DATABASE {name} OWNER {service}_owner")
        address = admin_dsn.rsplit("@", 1)[1].split("/", 1)[0]
        urls = Urls(
            name,
            *(
                f"postgresql://{role}:{PASSWORD}@{address}/{name}"
                for role in (service, f"{service}_owner", f"{service}_relay", f"{service}_check")
            ),
        )
        if migrated:
            await migrations.upgrade(service, urls.owner)
        yield urls
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()
