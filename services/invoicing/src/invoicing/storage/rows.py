"""A database row as a dictionary."""

from typing import Any

from sqlalchemy import Row


def as_dict(row: Row[Any]) -> dict[str, Any]:
    """Column name to value."""
    return dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented accessor; the underscore keeps column names free
