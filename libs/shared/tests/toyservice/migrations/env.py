"""Alembic's entry: the tables of the toy."""

from shared.migrations import run_env
from toyservice.tables import METADATA

run_env(METADATA)
