"""Alembic's entry: the tables of partners."""

from partners.tables import METADATA
from shared.migrations import run_env

run_env(METADATA)
