"""Postgres and Kafka in containers, where a Docker engine answers: `ENCOURS_TEST_SERVERS=containers make test`.

Postgres is the image of `docker-compose.yml`; Kafka the one that testcontainers itself is tested with. Not run where Encours is
developed, for want of an image registry: what is checked there is that the absence of an engine says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer

POSTGRES_IMAGE = "postgres:18"


@contextmanager
def containers() -> Iterator[tuple[str, str]]:
    """Yields the URL of Postgres' superuser and Kafka's bootstrap address; both are gone afterwards.

    Raises docker.errors.DockerException where no engine answers.
    """
    with PostgresContainer(POSTGRES_IMAGE, dbname="postgres", driver=None) as postgres, KafkaContainer().with_kraft() as kafka:
        yield postgres.get_connection_url(), kafka.get_bootstrap_server()
