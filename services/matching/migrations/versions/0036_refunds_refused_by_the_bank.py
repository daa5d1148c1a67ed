"""A refund that the bank refused keeps the reason."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("refund", sa.Column("bank_reason", sa.Text()))
