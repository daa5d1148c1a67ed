"""Pytest fixtures that every service's tests share. Loaded by the root conftest.

Real Postgres and a real broker: those that KAFKA_BOOTSTRAP_SERVERS and ENCOURS_POSTGRES_ADMIN_URL name; with
ENCOURS_TEST_SERVERS=containers those that testcontainers starts; or else private ones of the one-machine runner.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """Addresses of the servers under test."""

    admin_dsn: str
    bootstrap: str


@pytest.fixture(scope="session")
def infrastructure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Infrastructure]:
    """Postgres and Kafka for the session."""
    given = os.environ.get("ENCOURS_POSTGRES_ADMIN_URL"), os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given[0] and given[1]:
        yield Infrastructure(given[0], given[1])
        return
    if os.environ.get("ENCOURS_TEST_SERVERS") == "containers":
        from shared.testing.containers import containers  # noqa: PLC0415 - needs a Docker engine

        with containers() as (admin_dsn, bootstrap):
            yield Infrastructure(admin_dsn, bootstrap)
        return
    from onemachine.testing import infrastructure as start  # noqa: PLC0415 - only where it has to run them itself

    with start(tmp_path_factory.mktemp("servers")) as servers:
        yield Infrastructure(servers.admin_dsn, servers.bootstrap)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Data files that others wrote, beside the checkout; tests skip where the folder is absent."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "shared" / "data").is_dir() and (folder / "shared" / "DESIGN.md").is_file():
            return folder / "shared" / "data"
    pytest.skip("the folder of outside test data is not beside this checkout")
