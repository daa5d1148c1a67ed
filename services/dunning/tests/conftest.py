"""A world for dunning's tests: a fresh database, events of other services, a mail server, and the jobs run by hand."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shared.db import Database
from shared.testing.databases import Urls, fresh_database
from shared.testing.fixtures import Infrastructure

sys.path.insert(0, str(Path(__file__).parent))

from dunning_world import MailServer, World


@pytest.fixture(scope="session")
async def urls(infrastructure: Infrastructure) -> AsyncIterator[Urls]:
    """One database for the session; each test has tenants of its own."""
    async with fresh_database(infrastructure.admin_dsn, "dunning") as found:
        yield found


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    """The database as the application's role."""
    found = Database(urls.app, application_name="test", pool_max=6)
    yield found
    await found.close()


@pytest.fixture
async def mail_server() -> AsyncIterator[MailServer]:
    """A real SMTP server that answers as it is told."""
    server = MailServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def world(database: Database, urls: Urls, mail_server: MailServer) -> World:
    """One tenant with one entity, whose policy is on since 1 January 2025."""
    return World(database, urls, mail_server)
