"""a batch total that waits may be booked by hand: as which payment, and since when it waits"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("movement", sa.Column("payment_id", sa.UUID(), nullable=True))
    op.add_column("movement", sa.Column("received_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "movement_booked_by_hand",
        "movement",
        ["tenant_id", "bank_account_id", "bank_reference"],
        postgresql_where=sa.text("payment_id IS NOT NULL"),
    )
