"""A payment knows the statement that told of it last: two entries of one statement are two payments."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("payment", sa.Column("statement_id", sa.UUID()))
