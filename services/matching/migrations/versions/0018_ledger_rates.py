"""rates at which an entity's accountant values other currencies in euro"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "ledger_rate",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Date(), nullable=False),
        sa.Column("rate", sa.Numeric(19, 10), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.CheckConstraint("rate > 0", name="ledger_rate_above_zero"),
        sa.PrimaryKeyConstraint("tenant_id", "entity_id", "currency", "first_day"),
    )
    secure(op, "matching", METADATA)
