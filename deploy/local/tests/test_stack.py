"""The whole stack around a small service of the test's own, as `up`, `down`, `status` and `token` see it."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import jwt
import psutil
import pytest
from onemachine.__main__ import main
from onemachine.errors import LocalError
from onemachine.firststeps import TENANT_ID
from onemachine.processes import MARK
from onemachine.stack import Stack
from onemachine.tokens import AUDIENCE, ISSUER, Issuer

# migrates as the owner, serves as the application; counts its migrations
SERVICE = """
import asyncio, http.server, json, os, sys
import asyncpg

async def migrate():
    database = await asyncpg.connect(os.environ["ENCOURS_OWNER_DATABASE_URL"])
    await database.execute("CREATE TABLE IF NOT EXISTS ran (n int); INSERT INTO ran VALUES (1); GRANT SELECT ON ran TO counter")
    await database.close()

async def count():
    database = await asyncpg.connect(os.environ["ENCOURS_DATABASE_URL"])
    try:
        return await database.fetchval("SELECT count(*) FROM ran")
    finally:
        await database.close()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"migrations": asyncio.run(count()), "bootstrap": os.environ["KAFKA_BOOTSTRAP_SERVERS"]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

if sys.argv[1] == "migrate":
    asyncio.run(migrate())
    sys.exit(os.environ.get("FAIL"))
http.server.HTTPServer((os.environ["ENCOURS_HTTP_HOST"], int(os.environ["ENCOURS_HTTP_PORT"])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def _servers_of_our_own(monkeypatch):
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "ENCOURS_POSTGRES_ADMIN_URL"):
        monkeypatch.delenv(name, raising=False)


def stack(root, **environment):
    """A stack with the service `counter`."""
    sources = root / "sources"
    (sources / "counter").mkdir(parents=True, exist_ok=True)
    (sources / "counter" / "__main__.py").write_text(SERVICE)
    return Stack(root / "data", services=["counter"], environment={"PYTHONPATH": str(sources), **environment})


def ours(root):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get(MARK, "").startswith(str(root)) or Path(process.cwd()).is_relative_to(root)
            ):
                found.append(process)
    return found


def ask(one):
    with urllib.request.urlopen(one.url("counter"), timeout=5) as answer:  # noqa: S310 - http on this machine
        return json.load(answer)


def test_up_again_up_after_kill_9_of_everything_and_down(tmp_path):
    one = stack(tmp_path)
    try:
        with pytest.raises(
            LocalError, match=r"(?s)counter-migrate failed with exit code 1; the end of .*counter-migrate\.log:.* no licence"
        ):
            stack(tmp_path, FAIL="no licence").up()
        steps = []
        one.up(steps.append)
        assert "topics and migrations" in steps
        first = ask(one)
        assert first["migrations"] == 2  # the failed one as well
        pids = [status.process.pid for status in one.status()]
        stack(tmp_path).up()
        assert [status.process.pid for status in one.status()] == pids
        assert ask(one) == first

        for process in ours(tmp_path):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        one = stack(tmp_path)
        one.up()
        assert ask(one) == {**first, "migrations": 3}
        assert all(status.ready for status in one.status())
    finally:
        one.down()
    assert ours(tmp_path) == []
    assert not any(status.ready for status in one.status())
    one.down()


def test_a_demo_that_is_told_to_end_stops_what_it_started(tmp_path):
    root = tmp_path / "data"
    with subprocess.Popen([sys.executable, "-m", "onemachine", "--root", str(root), "demo"], stdout=subprocess.DEVNULL) as demo:  # noqa: S603 - our own command
        try:
            until = time.monotonic() + 240
            while not (root / "services.json").exists():  # written when all of it is up, before the main job
                assert demo.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
            assert len(ours(tmp_path)) > 8  # two servers, six services, the sandbox
            demo.terminate()
            assert demo.wait(120) == 130
            assert ours(tmp_path) == []
        finally:
            demo.kill()
            main(["--root", str(root), "down"])


async def test_servers_that_the_environment_names_are_used_and_left_alone(tmp_path, monkeypatch):
    lender = Stack(tmp_path / "lender", services=[])
    try:
        await asyncio.to_thread(lender.up)
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", lender.infrastructure.bootstrap)
        monkeypatch.setenv("ENCOURS_POSTGRES_ADMIN_URL", lender.infrastructure.admin_dsn)
        one = stack(tmp_path)
        await asyncio.to_thread(one.up)
        assert [status.process.name for status in one.status()] == ["counter"]
        assert (await asyncio.to_thread(ask, one))["bootstrap"] == lender.infrastructure.bootstrap
        one.down()
        database = await asyncpg.connect(lender.infrastructure.admin_dsn + "?application_name=still-there")
        await database.close()
        assert lender.infrastructure.kafka.ready
    finally:
        await asyncio.to_thread(lender.down)
    assert ours(tmp_path) == []


def test_what_a_service_is_told_is_printed_for_its_tools(tmp_path, capsys):
    one = Stack(tmp_path / "the data", services=[])
    try:
        one.up()
        assert main(["--root", str(one.root), "env", "matching"]) == 0
        exports = capsys.readouterr().out
        tool = f"{sys.executable} -m matching"
        run = ["sh", "-ec", f"{exports}\n{tool} migrate; {tool} check"]
        done = subprocess.run(run, check=False, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})  # noqa: S603 - our own
        assert done.returncode == 0, done.stderr
    finally:
        one.down()


def test_a_token_of_the_command_is_what_the_services_verify(tmp_path, capsys):
    assert main(["--root", str(tmp_path), "token", "--scope", "payments:read", "--subject", "second"]) == 0
    token = capsys.readouterr().out.strip()
    claims = jwt.decode(token, Issuer(tmp_path / "secrets").public_key_file.read_bytes(), ["EdDSA"], audience=AUDIENCE, issuer=ISSUER)
    assert (claims["tenant_id"], claims["scope"], claims["sub"]) == (TENANT_ID, "payments:read", "second")
    assert claims["exp"] - claims["iat"] == 12 * 3600
    assert claims["iat"] <= datetime.now(UTC).timestamp()  # noqa: TID251 - tokens are the machine clock's
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in (tmp_path / "secrets").glob("jwt-private*")} == {
        "jwt-private.pem": "0o600"
    }


def test_the_command_says_what_is_wrong_in_a_sentence(tmp_path):
    def run(*arguments):
        return subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "onemachine", "--root", tmp_path / "none", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )

    status = run("status")
    assert (status.returncode, status.stdout) == (1, "")
    assert status.stderr == f"onemachine: there is no data folder {tmp_path / 'none'}: nothing was started here\n"
    assert run("down").returncode == 0
    assert not (tmp_path / "none").exists()
