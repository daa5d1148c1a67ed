"""Alembic's entry: the tables of matching."""

from matching.tables import METADATA
from shared.migrations import run_env

run_env(METADATA)
