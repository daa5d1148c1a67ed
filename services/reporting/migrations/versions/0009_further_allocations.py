"""payments that settle more items than their events name"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("payment", sa.Column("further_allocations", sa.Integer(), nullable=False, server_default="0"))
