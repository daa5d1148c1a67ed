"""Postgres and Kafka in containers, where a Docker engine answers; both are the images of `docker-compose.yml`.

    ENCOURS_TEST_SERVERS=containers .venv/bin/python -m pytest -m 'not fault' libs/shared

Not `make test`, which starts servers of its own and names them to pytest. Where Encours is developed no image registry can be reached: this
is run there with stand-ins for both images, and without testcontainers' own reaper (TESTCONTAINERS_RYUK_DISABLED=true).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

POSTGRES_IMAGE = "postgres:18"
KAFKA_IMAGE = "apache/kafka:4.3.1"
_ADVERTISED = "/tmp/advertised"  # noqa: S108 - in a container of its own
_START = f"until [ -s {_ADVERTISED} ]; do sleep 0.1; done; KAFKA_ADVERTISED_LISTENERS=$(cat {_ADVERTISED}) exec /etc/kafka/docker/run"


@contextmanager
def containers() -> Iterator[tuple[str, str]]:
    """Yields the URL of Postgres' superuser and Kafka's bootstrap address; both are gone afterwards.

    Raises docker.errors.DockerException where no engine answers.
    """
    postgres = PostgresContainer(POSTGRES_IMAGE, dbname="postgres", driver=None)
    # text is ordered as on the one-machine runner's server; no test needs more connections than that has
    postgres.with_env("POSTGRES_INITDB_ARGS", "--no-locale --encoding=UTF8").with_command("-c max_connections=200")
    with postgres, _kafka() as kafka:
        bootstrap = f"{kafka.get_container_host_ip()}:{kafka.get_exposed_port(9092)}"
        kafka.copy_into_container(f"OUTSIDE://{bootstrap},INSIDE://localhost:9094".encode(), _ADVERTISED)
        LogMessageWaitStrategy("Kafka Server started").wait_until_ready(kafka)
        yield postgres.get_connection_url(), bootstrap


def _kafka() -> DockerContainer:
    """A broker that waits for the address by which its clients find it: known only once its container runs."""
    return (
        DockerContainer(KAFKA_IMAGE)
        .with_exposed_ports(9092)
        .with_envs(
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS="OUTSIDE://:9092,CONTROLLER://:9093,INSIDE://:9094",
            KAFKA_INTER_BROKER_LISTENER_NAME="INSIDE",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9093",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
        )
        .with_command(["sh", "-c", _START])
    )
