"""PostgreSQL and Kafka of one data folder, or the ones that the environment names instead.

`ENCOURS_POSTGRES_ADMIN_URL` (a superuser's URL) and `KAFKA_BOOTSTRAP_SERVERS` each replace ours: what they name is used and never started,
stopped or harmed.
"""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from onemachine.errors import LocalError
from onemachine.kafka import Kafka
from onemachine.postgres import Postgres

ADMIN_URL = "ENCOURS_POSTGRES_ADMIN_URL"
BOOTSTRAP = "KAFKA_BOOTSTRAP_SERVERS"
_ROOM_BYTES = 2 << 30  # for Postgres' log, Kafka's segments and some data


class Infrastructure:
    """Both servers; `postgres` and `kafka` are None where the environment names others."""

    def __init__(self, root: Path, *, brokers: int | None = None, heap_mb: int = 512) -> None:
        self.root = root.resolve()
        kept = len(list((self.root / "kafka").glob("broker-*")))  # a cluster keeps the size that it was made with
        if brokers is not None and kept not in (0, brokers):
            raise LocalError(f"{self.root} holds a cluster of {kept} broker(s), not {brokers}: take another data folder")
        self.postgres = None if os.environ.get(ADMIN_URL) else Postgres(self.root)
        self.kafka = None if os.environ.get(BOOTSTRAP) else Kafka(self.root, brokers=kept or brokers or 1, heap_mb=heap_mb)

    @property
    def admin_dsn(self) -> str:
        """The superuser's URL of the database server."""
        return self.postgres.dsn() if self.postgres else os.environ[ADMIN_URL]

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses."""
        return self.kafka.bootstrap if self.kafka else os.environ[BOOTSTRAP]

    @property
    def replication(self) -> int:
        """The replication factor that topics should have here."""
        return min(3, len(self.bootstrap.split(",")))

    def start(self, progress: Callable[[int, int], None] = lambda _done, _all: None) -> None:
        """Start both, side by side, and wait until they are ready; also after a crash, and harmless when they run.

        `progress` is told how many of Kafka's jars are there while they are fetched. Raises LocalError with what to do about it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if free < _ROOM_BYTES:
            raise LocalError(f"{self.root} has {free >> 20} MiB left on its disk; at least {_ROOM_BYTES >> 20} MiB are needed")
        with ThreadPoolExecutor(2) as pool:
            started = [pool.submit(self.postgres.start)] if self.postgres else []
            started += [pool.submit(self.kafka.start, progress=progress)] if self.kafka else []
        for one in started:
            one.result()

    def stop(self) -> None:
        """Stop what is ours and keep the data."""
        if self.kafka:
            self.kafka.stop()
        if self.postgres:
            self.postgres.stop()
