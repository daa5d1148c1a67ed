"""a refund that was paid may come back"""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.drop_constraint("refund_status", "refund")
    op.create_check_constraint(
        "refund_status", "refund", "status IN ('requested', 'approved', 'sent', 'paid', 'returned', 'refused', 'cancelled')"
    )
