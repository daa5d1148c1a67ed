"""The processes of the fault tests are forked from one that is warm."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from shared.testing.fixtures import Infrastructure
from toyservice.harness import System, Zygote, system

FAULT_SECONDS = float(os.environ.get("ENCOURS_FAULT_SECONDS", "60"))


@pytest.fixture(scope="session")
async def zygote() -> AsyncIterator[Zygote]:
    made = await Zygote.open()
    yield made
    await made.close()


@pytest.fixture
async def toy(infrastructure: Infrastructure, tmp_path: Path) -> AsyncIterator[System]:
    """A toy on the session's servers."""
    async with system(infrastructure.admin_dsn, infrastructure.bootstrap, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def fault_seconds() -> float:
    """How long an outage lasts: 60 s, unless ENCOURS_FAULT_SECONDS says otherwise."""
    return FAULT_SECONDS
