"""Where the services are: a JSON file that whoever started them has written, named by ENCOURS_SERVICES_FILE.

    {"tenant": id, "entity": id, "token": jwt, "clock_file": path, "webhook_secret": "whsec_..",
     "matching": {"url": "http://..", "env": {..}}, .. , "sandbox": {"url": ".."}}

Invariant: the play starts only when every part has an address; `env` is what `python -m NAME check` is run with.
"""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from contracts.catalogue import SERVICES

from sandbox.client import Client

PARTS = (*SERVICES, "sandbox")


class StageError(Exception):
    """The services file is missing something; the text says what and where."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The addresses and what opens them."""

    tenant_id: UUID
    entity_id: UUID
    token: str
    clock_file: Path
    webhook_secret: str
    urls: Mapping[str, str]
    environments: Mapping[str, Mapping[str, str]]


def read_stage(environment: Mapping[str, str]) -> Stage:
    """The stage from the file that `environment` names; ENCOURS_URL_NAME, ENCOURS_TOKEN, ENCOURS_CLOCK_FILE and
    ENCOURS_WEBHOOK_SECRET override it. Raises StageError naming what is missing or malformed.
    """
    file = environment.get("ENCOURS_SERVICES_FILE")
    if file is None:
        raise StageError("ENCOURS_SERVICES_FILE is not set: it names the file that says where the services are")
    try:
        found: dict[str, Any] = json.loads(Path(file).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{file}: {error}") from None
    urls, environments = {}, {}
    for name in PARTS:
        part = found.get(name, {})
        url = environment.get(f"ENCOURS_URL_{name.upper()}") or part.get("url")
        if not isinstance(url, str):
            raise StageError(f"{file}: /{name}/url is missing")
        urls[name], environments[name] = url.rstrip("/"), dict(part.get("env", {}))
    secret = (
        environment.get("ENCOURS_WEBHOOK_SECRET") or found.get("webhook_secret") or environments["matching"].get("ENCOURS_WEBHOOK_SECRET")
    )
    values = {
        "tenant": found.get("tenant"),
        "entity": found.get("entity"),
        "token": environment.get("ENCOURS_TOKEN") or found.get("token"),
        "clock_file": environment.get("ENCOURS_CLOCK_FILE") or found.get("clock_file"),
        "webhook_secret": secret,
    }
    for name, value in values.items():
        if not isinstance(value, str):
            raise StageError(f"{file}: /{name} is missing")
    try:
        tenant_id, entity_id = UUID(values["tenant"]), UUID(values["entity"])
    except ValueError:
        raise StageError(f"{file}: /tenant and /entity are UUIDs") from None
    return Stage(
        tenant_id=tenant_id,
        entity_id=entity_id,
        token=str(values["token"]),
        clock_file=Path(str(values["clock_file"])),
        webhook_secret=str(secret),
        urls=urls,
        environments=environments,
    )


class Services:
    """A client for each part. Use it as an async context manager."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._stack = stage, AsyncExitStack()
        self.invoicing, self.matching, self.scoring, self.dunning, self.reporting, self.partners = (
            Client(stage.urls[name], stage.token) for name in ("invoicing", "matching", "scoring", "dunning", "reporting", "partners")
        )
        self.sandbox = Client(stage.urls["sandbox"])

    def of(self, name: str) -> Client:
        """The client of a service by name."""
        client = getattr(self, name)
        if not isinstance(client, Client):
            raise TypeError(f"{name} is no service")
        return client

    async def __aenter__(self) -> Self:
        """Itself."""
        for name in PARTS:
            await self._stack.enter_async_context(self.of(name))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes every connection."""
        await self._stack.aclose()
