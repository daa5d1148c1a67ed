"""What the tables have in common: their metadata and the columns that many of them have."""

from shared.aliases import attach_aliases
from shared.tables import attach
from sqlalchemy import BigInteger, CheckConstraint, Column, Date, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.sql.schema import SchemaItem

METADATA = MetaData()
attach(METADATA)
ALIAS = attach_aliases(METADATA)
JSON = JSONB(none_as_null=True)


def kept(name: str, key: str, *columns: SchemaItem) -> Table:
    """A table of others' aggregates: one row each, at the highest version seen."""
    return Table(
        name,
        METADATA,
        Column("tenant_id", UUID, primary_key=True),
        Column(key, UUID, primary_key=True),
        Column("version", BigInteger, nullable=False),
        *columns,
    )


def text(name: str, *, nullable: bool = False) -> Column[str]:
    """A text."""
    return Column(name, Text, nullable=nullable)


def uuid(name: str, *, nullable: bool = False) -> Column[object]:
    """An id."""
    return Column(name, UUID, nullable=nullable)


def minor(name: str, *, nullable: bool = False) -> Column[int]:
    """An amount in minor units, never below zero."""
    return Column(name, BigInteger, CheckConstraint(f"{name} >= 0"), nullable=nullable)


def date(name: str, *, nullable: bool = False) -> Column[object]:
    """A day."""
    return Column(name, Date, nullable=nullable)


def json(name: str) -> Column[object]:
    """JSON, never null."""
    return Column(name, JSON, nullable=False)
