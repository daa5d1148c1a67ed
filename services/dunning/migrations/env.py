"""Alembic's entry: the tables of dunning."""

from dunning.tables import METADATA
from shared.migrations import run_env

run_env(METADATA)
