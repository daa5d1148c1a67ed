"""The whole stack, started from nothing by the same runner that a user has."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace
from uuid import NAMESPACE_URL, uuid5

import httpx
import pytest
from onemachine.firststeps import ENTITY_ID, SCOPE, TENANT_ID, prepare
from onemachine.stack import SERVICES, Stack
from shared.clock import machine_now, monotonic

OTHER_TENANT = str(uuid5(NAMESPACE_URL, "urn:encours:e2e:other"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """Everything up: real Kafka, real Postgres, six services, the sandbox."""
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "ENCOURS_POSTGRES_ADMIN_URL"):
        os.environ.pop(name, None)
    found = Stack(tmp_path_factory.mktemp("stack"), sandbox=True)
    found.up()
    yield found
    found.down()


@pytest.fixture(scope="session")
def urls(stack):
    return {name: stack.url(name) for name in (*SERVICES, "sandbox")}


@pytest.fixture(scope="session")
def until():
    """Waits for a condition, asked ten times a second, and returns what it gave."""

    def wait(condition, seconds=60):
        end = monotonic() + seconds
        while not (found := condition()):
            assert monotonic() < end, f"it did not come true within {seconds} s"
            time.sleep(0.1)
        return found

    return wait


def _token(stack, tenant):
    return stack.issuer.token(tenant_id=tenant, scope=SCOPE, now=machine_now())


@pytest.fixture(scope="session")
def token(stack):
    return _token(stack, TENANT_ID)


@pytest.fixture(scope="session")
def ours(urls, token, stack):
    """A client per service for the first tenant, whose entity and bank account are entered; the files to post beside it."""
    folder = stack.root / "first-steps"
    prepare(urls, token, folder)
    clients = {
        name: httpx.Client(base_url=urls[name], headers={"authorization": f"Bearer {token}"}, timeout=60, trust_env=False) for name in urls
    }
    yield SimpleNamespace(folder=folder, entity=ENTITY_ID, **clients)
    for client in clients.values():
        client.close()


@pytest.fixture(scope="session")
def theirs(urls, stack):
    """A client per service for another tenant."""
    header = {"authorization": f"Bearer {_token(stack, OTHER_TENANT)}"}
    clients = {name: httpx.Client(base_url=urls[name], headers=header, timeout=60, trust_env=False) for name in urls}
    yield SimpleNamespace(**clients)
    for client in clients.values():
        client.close()


@pytest.fixture
def check(stack):
    """Runs `python -m NAME check` for every service; fails with what does not hold."""

    def run():
        broken = []
        for name, database in stack.provision().items():
            done = subprocess.run(  # noqa: S603 - our own command
                [sys.executable, "-m", name, "check"], check=False, capture_output=True, text=True, env=stack.environment(name, database)
            )
            if done.returncode:
                broken.append(f"{name}: {done.stdout}{done.stderr[-2000:]}")
        assert not broken, "\n".join(broken)

    return run
