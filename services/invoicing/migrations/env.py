"""Alembic's entry: the tables of invoicing."""

from invoicing.tables import METADATA
from shared.migrations import run_env

run_env(METADATA)
