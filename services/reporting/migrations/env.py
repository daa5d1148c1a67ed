"""Alembic's entry: the tables of reporting."""

from reporting.tables import METADATA
from shared.migrations import run_env

run_env(METADATA)
