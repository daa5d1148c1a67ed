"""The databases of the services: one each, with the roles that share the work.

| role | may |
|---|---|
| `NAME_owner` | owns the database and its schema; runs the migrations |
| `NAME` | the application: owns nothing, row-level security binds it |
| `NAME_relay` | reaches the outbox alone (granted by the migrations) |
| `NAME_check` | reads what it is granted, of every tenant: runs the invariants |

Creating them again changes nothing but the passwords, which are set to those given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import asyncpg

_ROLES = {"owner": "", "app": "NOBYPASSRLS", "relay": "", "check": "BYPASSRLS"}
_LOCK = 0x656E636F757273  # "encours": two who provision the same server take turns; roles belong to the whole server


@dataclass(frozen=True)
class ServiceDatabase:
    """The URLs of one service's database, one for each role."""

    owner: str
    app: str
    relay: str
    check: str

    def environment(self) -> dict[str, str]:
        """The settings of a service that name its database."""
        return {
            "ENCOURS_DATABASE_URL": self.app,
            "ENCOURS_OWNER_DATABASE_URL": self.owner,
            "ENCOURS_RELAY_DATABASE_URL": self.relay,
            "ENCOURS_CHECK_DATABASE_URL": self.check,
        }


def role_name(service: str, kind: str) -> str:
    """The name of a service's role of `kind`: owner, app, relay or check."""
    return service if kind == "app" else f"{service}_{kind}"


async def provision(admin_url: str, service: str, passwords: Mapping[str, str]) -> ServiceDatabase:
    """Create the database `service` and its roles where missing; `passwords` by kind of role. Returns the roles' URLs.

    `admin_url` is a superuser's (or one that may create roles with BYPASSRLS). `service` is a plain lower-case name.
    """
    if not service.isidentifier() or service != service.lower():
        raise ValueError(f"{service!r} is no plain lower-case name")
    server = await asyncpg.connect(admin_url)
    try:
        await server.execute("SELECT pg_advisory_lock($1)", _LOCK)
        for kind, rights in _ROLES.items():
            await _role(server, role_name(service, kind), rights, passwords[kind])
        if not await server.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", service):
            # a template of its own encoding: an external server's default may be another
            await server.execute(f'CREATE DATABASE "{service}" OWNER "{service}_owner" TEMPLATE template0 ENCODING \'UTF8\'')
        await server.execute(f'ALTER DATABASE "{service}" OWNER TO "{service}_owner"')
        await server.execute(f'REVOKE ALL ON DATABASE "{service}" FROM PUBLIC')
        for kind in _ROLES:
            await server.execute(f'GRANT CONNECT ON DATABASE "{service}" TO "{role_name(service, kind)}"')
    finally:
        await server.close()  # which releases the lock
    await _schema(_url(admin_url, database=service), service)
    urls = {kind: _url(admin_url, role_name(service, kind), passwords[kind], service) for kind in _ROLES}
    return ServiceDatabase(**urls)


async def _role(server: asyncpg.Connection, name: str, rights: str, password: str) -> None:
    if not await server.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
        await server.execute(f'CREATE ROLE "{name}"')
    literal = password.replace("'", "''")
    await server.execute(f"ALTER ROLE \"{name}\" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE {rights} PASSWORD '{literal}'")
    await server.execute(f"ALTER ROLE \"{name}\" SET app.tenants = '{{}}'")  # whoever names no tenant sees none


async def _schema(url: str, service: str) -> None:
    database = await asyncpg.connect(url)
    try:
        await database.execute(f'ALTER SCHEMA public OWNER TO "{service}_owner"')
        await database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        for kind in ("app", "relay", "check"):
            await database.execute(f'GRANT USAGE ON SCHEMA public TO "{role_name(service, kind)}"')
    finally:
        await database.close()


def _url(admin_url: str, user: str | None = None, password: str = "", database: str = "") -> str:
    """`admin_url` with another database and, when given, another user; host and parameters stay."""
    parts = urlsplit(admin_url)
    address = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if user is None else f"{quote(user, safe='')}:{quote(password, safe='')}@{address}"
    return parts._replace(netloc=netloc, path=f"/{quote(database, safe='')}").geturl()
