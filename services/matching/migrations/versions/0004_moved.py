"""whom a merge has moved items and money from"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("payment", sa.Column("moved_to_customer_id", sa.UUID(), nullable=True))
    for table in ("payment", "open_item"):
        op.add_column(table, sa.Column("moved_from_customer_id", sa.UUID(), nullable=True))
        op.create_index(
            f"{table}_moved",
            table,
            ["tenant_id", "moved_from_customer_id"],
            postgresql_where=sa.text("moved_from_customer_id IS NOT NULL"),
        )
