"""A recall keeps how much the bank took: it may be less than it asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("recall", sa.Column("settled_minor", sa.BigInteger()))
    op.execute("UPDATE recall SET settled_minor = amount_minor WHERE status = 'settled'")
