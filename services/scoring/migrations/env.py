"""Alembic's entry: the tables of scoring."""

from scoring.tables import METADATA
from shared.migrations import run_env

run_env(METADATA)
