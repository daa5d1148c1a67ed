"""what a statement knows a payment by that was told of under another key before"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("payment", sa.Column("booked_key", sa.Text()))
    op.create_index(
        "payment_booked", "payment", ["tenant_id", "bank_account_id", "booked_key"], postgresql_where=sa.text("booked_key IS NOT NULL")
    )
