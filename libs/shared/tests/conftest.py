"""Makes the toy service importable, and gives its database to the tests that need one without topics."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import toyservice.service  # noqa: F401 - migrations find the package among the loaded ones
from shared.db import Database
from shared.testing.databases import Urls, fresh_database
from shared.testing.fixtures import Infrastructure


@pytest.fixture(scope="module")
async def urls(infrastructure: Infrastructure) -> AsyncIterator[Urls]:
    """The toy's database, at head, through its four roles."""
    async with fresh_database(infrastructure.admin_dsn, "toyservice") as made:
        yield made


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    """The toy's database as the application."""
    made = Database(urls.app, application_name="tests", pool_max=8)
    yield made
    await made.close()
