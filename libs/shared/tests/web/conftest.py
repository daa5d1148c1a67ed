import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from shared.clock import machine_now
from shared.db import Database, async_url
from shared.tables import attach
from shared.testing.fixtures import Infrastructure
from shared.web.auth import Verifier
from shared.web.pagination import Cursors
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.ext.asyncio import create_async_engine

TENANT = UUID("0190a000-0000-7000-8000-000000000001")


@dataclass(frozen=True)
class Issuer:
    private: str
    public: str
    file: Path

    def token(self, *, algorithm: str = "RS256", key: str | None = None, headers: dict | None = None, **claims) -> str:
        now = int(machine_now().timestamp())
        body = {
            "iss": "encours",
            "aud": "encours",
            "sub": "erp",
            "client_id": "erp-connector",
            "exp": now + 600,
            "tenant_id": str(TENANT),
            "scope": "things:read things:write",
        } | claims
        return jwt.encode({k: v for k, v in body.items() if v is not None}, key or self.private, algorithm=algorithm, headers=headers)

    def bearer(self, **claims) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(**claims)}"}


@pytest.fixture(scope="session")
def issuer(tmp_path_factory) -> Issuer:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    file = tmp_path_factory.mktemp("keys") / "public.pem"
    file.write_text(public)
    return Issuer(private, public, file)


@pytest.fixture(scope="session")
def verifier(issuer: Issuer) -> Verifier:
    return Verifier(issuer="encours", audience="encours", public_key_file=issuer.file)


@pytest.fixture(scope="session")
def cursors() -> Cursors:
    return Cursors(b"0123456789abcdef0123456789abcdef")


@pytest.fixture(scope="session")
def client_of():
    """Makes a client that never lets an exception of the app pass for an answer."""

    def client(app, **options) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url="http://api.test", **options)

    return client


@pytest.fixture(scope="session")
async def postgres_url(infrastructure: Infrastructure) -> AsyncIterator[str]:
    admin = infrastructure.admin_dsn
    name = f"web_{secrets.token_hex(6)}"
    engine = create_async_engine(async_url(admin), isolation_level="AUTOCOMMIT")
    async with engine.connect() as conn:
        await conn.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{admin.rsplit('/', 1)[0]}/{name}"
    async with engine.connect() as conn:
        await conn.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    await engine.dispose()


@pytest.fixture(scope="session")
async def stored(postgres_url: str) -> AsyncIterator[SimpleNamespace]:
    """A database with the mechanics' tables and one of a service's own, `thing`."""
    metadata = MetaData()
    attach(metadata)
    thing = Table("thing", metadata, Column("id", Integer, primary_key=True, autoincrement=True), Column("name", Text, nullable=False))
    database = Database(postgres_url, application_name="web-tests", pool_max=8)
    async with database.engine.begin() as conn:
        await conn.run_sync(metadata.create_all, tables=[thing, metadata.tables["idempotency_key"], metadata.tables["tenant"]])
    yield SimpleNamespace(database=database, thing=thing, keys=metadata.tables["idempotency_key"])
    await database.close()
