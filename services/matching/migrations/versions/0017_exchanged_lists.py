"""remittance lists in another currency than their items or their payment"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("expected_payment", sa.Column("rate", sa.Numeric(19, 10), nullable=True))
    op.add_column("expected_payment", sa.Column("rate_currency", sa.Text(), nullable=True))
    op.create_index(
        "payment_instructed",
        "payment",
        ["tenant_id", "entity_id", "instructed_minor"],
        postgresql_where=sa.text("instructed_minor IS NOT NULL"),
    )
