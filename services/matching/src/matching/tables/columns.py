"""What the tables have in common: their metadata and the columns that many of them have."""

from typing import Any

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import BigInteger, Column, MetaData
from sqlalchemy.dialects.postgresql import UUID

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)


def minor(name: str) -> "Column[int]":
    """An amount in minor units, zero unless given."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def need(name: str, kind: Any, **options: Any) -> "Column[Any]":
    """A column that is never null."""
    return Column(name, kind, nullable=False, **options)


def tenant() -> "Column[Any]":
    """The tenant, which leads every key."""
    return Column("tenant_id", UUID, primary_key=True)
