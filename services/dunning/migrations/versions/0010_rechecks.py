"""What was kept or completed is looked at again, too, when money goes back: such rows are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    for table in ("promise", "payment_plan"):
        op.create_index(f"{table}_recheck", table, ["tenant_id"], postgresql_where=sa.text("recheck"))
