"""Open promises by who made them"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_index(
        "expected_payment_promised",
        "expected_payment",
        ["tenant_id", "payer_customer_id"],
        postgresql_where=sa.text("kind = 'promise' AND status = 'waiting'"),
    )
