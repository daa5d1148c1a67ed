"""The whole of Encours on one machine: servers, databases, topics, services, and the sandbox when asked.

Everything lies in one data folder: `ports.json`, `secrets/`, `logs/`, `run/`, `documents/` and the servers' own. Invariants: `up` brings
any state of it, also that after a power cut, to "all ready" or says in one sentence what prevents it; `up` when all is up changes nothing;
`down` leaves no process and keeps the data.
"""

import asyncio
import functools
import http.client
import os
import secrets
import socket
import sys
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from shared.locks import exclusive

from onemachine.databases import ServiceDatabase, provision
from onemachine.errors import LocalError
from onemachine.infrastructure import Infrastructure
from onemachine.ports import HOST, Ports
from onemachine.processes import Process
from onemachine.tokens import AUDIENCE, ISSUER, Issuer, write_secret

SERVICES = ("invoicing", "matching", "scoring", "dunning", "reporting", "partners")
SANDBOX = "sandbox"
SANDBOX_PARTS = (SANDBOX, "smtp")
_ROLES = ("owner", "app", "relay", "check")
_START_SECONDS = 90.0
_STOP_SECONDS = 30.0  # a service finishes its batch and leaves within 25


@dataclass(frozen=True)
class Status:
    """One process as `status` shows it; `port` is its first."""

    process: Process
    port: int | None
    ready: bool


class Stack:
    """Encours in `root`. `services` are those to run; `clock_file` moves their business clock (the demo's).

    `environment` is added to what every service is started with.
    """

    def __init__(
        self,
        root: Path,
        *,
        services: Iterable[str] = SERVICES,
        sandbox: bool = False,
        brokers: int | None = None,
        clock_file: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.root = root.resolve()
        self.services = tuple(services)
        self.sandbox = sandbox
        self.infrastructure = Infrastructure(self.root, brokers=brokers)
        self._clock_file = clock_file
        self._extra = environment or {}
        self._ports = Ports(self.root / "ports.json")

    def port(self, name: str) -> int:
        """The port of a service, or of a part of the sandbox such as `bank`."""
        return self._ports.get(name)

    def url(self, name: str) -> str:
        """The HTTP address of a service, or of a part of the sandbox."""
        return f"http://{HOST}:{self.port(name)}"

    @property
    def issuer(self) -> Issuer:
        """Who signs tokens that this stack accepts."""
        return Issuer(self._secrets)

    def up(self, say: Callable[[str], None] = lambda _text: None) -> None:
        """Start what does not run and return when all is ready; `say` is told of each step.

        Raises LocalError with one sentence, and the end of the log where there is one. What runs by then goes on: `up` again continues.
        """
        with exclusive(self.root / "lock"):
            say("PostgreSQL and Kafka")
            self.infrastructure.start(lambda done, all_: say(f"fetching Kafka: {done} of {all_} jars"))
            say("databases")
            environments = {name: self.environment(name, database) for name, database in self.provision().items()}
            idle = [name for name in self.services if not self.process(name).alive]
            if idle:
                say("topics and migrations")
                self._run(Process(self.root, "topics"), [sys.executable, "-m", "shared.topics"], self.environment())
                self._each(idle, lambda name: self._migrate(name, environments[name]))
            say("services")
            if self.sandbox:
                environments[SANDBOX] = self.environment(SANDBOX)
            for name, environment in environments.items():  # all at once, then wait for each
                if not self.process(name).alive:
                    self._launch(name, environment)
            for name, environment in environments.items():
                ready = self._sandbox_ready if name == SANDBOX else functools.partial(answers_ready, self.port(name))
                self.process(name).ensure(functools.partial(self._launch, name, environment), ready, _START_SECONDS)

    def down(self) -> None:
        """Stop everything, the services first, and keep the data; harmless when nothing runs."""
        with exclusive(self.root / "lock"):
            processes = [self.process(name) for name in dict.fromkeys((*SERVICES, *self.services, SANDBOX))]
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.stop(_STOP_SECONDS)
            self.infrastructure.stop()

    def status(self) -> list[Status]:
        """Every process of this stack, running or not."""
        found = []
        if self.infrastructure.postgres:
            postgres = self.infrastructure.postgres
            found.append(Status(postgres.process, postgres.port, postgres.process.alive and postgres.ready))
        if self.infrastructure.kafka:
            kafka = self.infrastructure.kafka
            found += [
                Status(process, kafka.port(broker), process.alive and kafka.serves(broker)) for broker, process in kafka.processes.items()
            ]
        found += [Status(self.process(name), self.port(name), answers_ready(self.port(name))) for name in self.services]
        if self.sandbox or self.process(SANDBOX).alive:
            found.append(Status(self.process(SANDBOX), self.port(SANDBOX_PARTS[0]), self._sandbox_ready()))
        return found

    def process(self, name: str) -> Process:
        """The process of a service or of the sandbox."""
        return Process(self.root, name)

    def provision(self, services: Iterable[str] | None = None) -> dict[str, ServiceDatabase]:
        """The databases of `services` (all of them by default), created where missing, with the passwords kept in the data folder."""

        async def all_of_them() -> dict[str, ServiceDatabase]:
            admin = self.infrastructure.admin_dsn
            return {
                name: await provision(admin, name, {kind: self.secret(f"{name}_{kind}") for kind in _ROLES})
                for name in (self.services if services is None else services)
            }

        try:
            return asyncio.run(all_of_them())
        except (asyncpg.PostgresError, OSError) as error:
            raise LocalError(f"the databases cannot be made ready: {' '.join(str(error).split()) or type(error).__name__}") from error

    def environment(self, name: str | None = None, database: ServiceDatabase | None = None) -> dict[str, str]:
        """The environment that the process `name` is started with: the caller's, and what this stack decides."""
        return {**os.environ, **self.decided(name, database)}

    def decided(self, name: str | None = None, database: ServiceDatabase | None = None) -> dict[str, str]:
        """The variables that this stack decides for the process `name`."""
        documents = self.root / "documents"
        documents.mkdir(parents=True, exist_ok=True)
        ours = {
            "KAFKA_BOOTSTRAP_SERVERS": self.infrastructure.bootstrap,
            "ENCOURS_TOPIC_PREFIX": os.environ.get("ENCOURS_TOPIC_PREFIX", ""),
            "ENCOURS_TOPIC_REPLICATION": str(self.infrastructure.replication),
            "ENCOURS_HTTP_HOST": HOST,
            "ENCOURS_JWT_PUBLIC_KEY_FILE": str(self.issuer.public_key_file),
            "ENCOURS_JWT_ISSUER": ISSUER,
            "ENCOURS_JWT_AUDIENCE": AUDIENCE,
            "ENCOURS_CURSOR_SECRET": self.secret("cursor"),
            "ENCOURS_DOCUMENTS_DIR": str(documents),
            "ENCOURS_SMTP_URL": f"smtp://{HOST}:{self.port('smtp')}",
            "ENCOURS_BUREAU_URL": self.url(SANDBOX) + "/bureau/v1",
            "ENCOURS_BUREAU_USERNAME": "sandbox",
            "ENCOURS_BUREAU_PASSWORD": "sandbox",
            "ENCOURS_BANK_URL": self.url(SANDBOX) + "/bank",
            "ENCOURS_WEBHOOK_SECRET": self.secret("webhook", prefix="whsec_"),
            "ENCOURS_ALLOW_LOOPBACK_WEBHOOKS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        if name in self.services:
            ours["ENCOURS_HTTP_PORT"] = str(self.port(name))
        if name == SANDBOX:
            ours |= {f"ENCOURS_{part.upper()}_PORT": str(self.port(part)) for part in SANDBOX_PARTS}
        if self._clock_file is not None:
            ours["ENCOURS_CLOCK_FILE"] = str(self._clock_file)
        return {**ours, **(database.environment() if database else {}), **self._extra}

    def secret(self, name: str, prefix: str = "") -> str:
        """A random secret kept in the data folder under `name`, made on first use: `prefix` and the base64 of 32 bytes."""
        file = self._secrets / name
        if not file.exists():
            self._secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_secret(file, prefix + b64encode(secrets.token_bytes(32)).decode())
        return file.read_text()

    @property
    def _secrets(self) -> Path:
        return self.root / "secrets"

    def _launch(self, name: str, environment: dict[str, str]) -> None:
        self.process(name).kill()  # what a lost pid file named still holds the port
        for part in SANDBOX_PARTS if name == SANDBOX else [name]:
            self._ports.require_free(part)
        roles = [] if name == SANDBOX else ["all"]  # api, worker and relay in one process
        self.process(name).start([sys.executable, "-m", name, *roles], environment)

    def _migrate(self, name: str, environment: dict[str, str]) -> None:
        self._run(Process(self.root, f"{name}-migrate"), [sys.executable, "-m", name, "migrate"], environment)

    @staticmethod
    def _run(process: Process, command: list[str], environment: dict[str, str]) -> None:
        """Run a command to its end, its output in the process' log. Raises LocalError with the log's end when it fails."""
        process.kill()  # one whose starter was killed may run on
        process.start(command, environment)
        process.finish()

    @staticmethod
    def _each(names: list[str], work: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(max_workers=3) as pool:
            for done in [pool.submit(work, name) for name in names]:
                done.result()

    def _sandbox_ready(self) -> bool:
        return self.process(SANDBOX).alive and all(_listens(self.port(part)) for part in SANDBOX_PARTS)


def answers_ready(port: int) -> bool:
    """Whether GET /ready of the service at `port` answers 200."""
    return _get(port, "/ready")[0] == http.HTTPStatus.OK


def waiting(port: int) -> tuple[int, float] | None:
    """What a service has yet to do by its own metrics: events in its outbox, and its consumers' largest lag in seconds."""
    status, text = _get(port, "/metrics")
    if status != http.HTTPStatus.OK:
        return None
    depth, lag = 0.0, 0.0
    for line in text.splitlines():
        if line.startswith("encours_outbox_depth "):
            depth = float(line.split()[-1])
        if line.startswith("encours_consumer_lag_seconds{"):
            lag = max(lag, float(line.split()[-1]))
    return int(depth), lag


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), 1.0).close()
    except OSError:
        return False
    return True
