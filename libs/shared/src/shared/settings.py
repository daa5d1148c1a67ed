"""Settings of a process, from the environment alone. A service adds its own by subclassing.

Invariant: a process refuses to start on a setting that is missing or malformed, naming the variable.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every service needs. Variables carry the prefix ENCOURS_, but for KAFKA_BOOTSTRAP_SERVERS."""

    model_config = SettingsConfigDict(env_prefix="ENCOURS_", extra="ignore", frozen=True, populate_by_name=True)

    database_url: SecretStr
    """PostgreSQL URL of the application's role: it owns no table and row-level security binds it."""
    owner_database_url: SecretStr | None = None
    """URL of the role that owns the tables: for `migrate` alone."""
    relay_database_url: SecretStr | None = None
    """URL of the role that reaches the outbox alone."""
    check_database_url: SecretStr | None = None
    """URL of the role that reads everything and writes nothing: for `check` alone."""
    database_pool_max: Annotated[int, Field(ge=2, le=64)] = 8

    kafka_bootstrap_servers: Annotated[str, Field(validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS", "kafka_bootstrap_servers"))]
    topic_prefix: str = ""
    topic_replication: Annotated[int, Field(ge=1, le=7)] = 1
    batch_max: Annotated[int, Field(ge=1, le=5000)] = 1000
    """Events per transaction of a worker; 500 to 1000 is the knee of the curve."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    jwt_public_key_file: Path | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str = "encours"
    jwt_audience: str = "encours"
    cursor_secret: Annotated[SecretStr, Field(min_length=32)]
    """At least 32 bytes, the same in every process of the service: it signs the cursors of lists."""
    documents_dir: Path = Path("documents")

    clock_file: Path | None = None
    otlp_endpoint: str | None = None
    """OTLP/HTTP traces go there (such as http://127.0.0.1:4318/v1/traces); without it spans are made and dropped."""
    log_level: str = "INFO"
