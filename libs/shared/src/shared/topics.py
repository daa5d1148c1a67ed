"""`python -m shared.topics`: creates the topics of the catalogue. Nothing else ever creates one."""

import asyncio

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.kafka import create_topics


class TopicSettings(BaseSettings):
    """Where the cluster is, and how many copies it keeps."""

    model_config = SettingsConfigDict(env_prefix="ENCOURS_", extra="ignore")
    kafka_bootstrap_servers: str = Field(validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS", "kafka_bootstrap_servers"))
    topic_prefix: str = ""
    topic_replication: int = 1


def main() -> None:
    """Creates what is missing and prints its names."""
    settings = TopicSettings()
    created = asyncio.run(
        create_topics(settings.kafka_bootstrap_servers, prefix=settings.topic_prefix, replication=settings.topic_replication)
    )
    print("\n".join(created) or "all topics are there")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
