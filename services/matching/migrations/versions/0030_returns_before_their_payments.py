"""A return that comes before its payment keeps what it says, until that is there."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("movement", sa.Column("transaction_id", sa.Text()))
    op.add_column("movement", sa.Column("return_reason", sa.Text()))
