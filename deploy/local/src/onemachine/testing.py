"""Real servers for tests: plain context managers, for any test runner."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onemachine.infrastructure import Infrastructure


@contextmanager
def infrastructure(root: Path, brokers: int = 1) -> Iterator[Infrastructure]:
    """A PostgreSQL server and a Kafka cluster of `brokers` in `root`, stopped at the end.

    Yields `admin_dsn`, `bootstrap`, and the handles `postgres` and `kafka` that fault tests kill and restart. Where
    `ENCOURS_POSTGRES_ADMIN_URL` or `KAFKA_BOOTSTRAP_SERVERS` are set these are used instead and the handle is None.
    """
    servers = Infrastructure(root, brokers=brokers, heap_mb=512 if brokers == 1 else 384)
    try:
        servers.start()
        yield servers
    finally:
        if servers.kafka:
            for broker in servers.kafka.ids:
                servers.kafka.kill(broker)  # safe for the data, and three of them take long to part from each other
        servers.stop()
