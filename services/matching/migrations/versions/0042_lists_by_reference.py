"""lists that wait, by the reference that a payment of another amount may say"""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_index(
        "expected_payment_listed",
        "expected_payment",
        ["tenant_id", "reference"],
        postgresql_where=sa.text("kind = 'remittance' AND status = 'waiting' AND reference IS NOT NULL"),
    )
