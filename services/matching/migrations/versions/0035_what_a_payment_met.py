"""What was expected by the payment that met it; and what has expired among what money may still be"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_index(
        "expected_payment_met", "expected_payment", ["tenant_id", "payment_id"], postgresql_where=sa.text("payment_id IS NOT NULL")
    )
    op.drop_index("expected_payment_waiting", "expected_payment")
    op.create_index(
        "expected_payment_waiting",
        "expected_payment",
        ["tenant_id", "entity_id", "amount_minor"],
        postgresql_where=sa.text("status IN ('waiting', 'partly', 'expired')"),
    )
