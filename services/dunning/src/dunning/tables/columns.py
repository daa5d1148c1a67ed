"""What the tables have in common: their metadata and the columns that many of them have."""

from typing import Any

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import BigInteger, CheckConstraint, Column, MetaData
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)


def key(name: str, kind: type[TypeEngine[Any]] = UUID) -> Column[Any]:
    """A column of the key."""
    return Column(name, kind, primary_key=True)


def tenant() -> Column[Any]:
    """The tenant, which leads every key."""
    return key("tenant_id")


def minor(name: str) -> Column[int]:
    """An amount in minor units, never below zero."""
    return Column(name, BigInteger, CheckConstraint(f"{name} >= 0", name=f"{name}_not_negative"), nullable=False)


def version() -> Column[int]:
    """The version of the aggregate that the row says."""
    return Column("version", BigInteger, nullable=False)
