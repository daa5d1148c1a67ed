"""how an entity uses the law's order, and the country whose law it is"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("customer", sa.Column("country", sa.Text(), nullable=True))
    op.create_table(
        "imputation_setting",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("entity_id", sa.UUID(), nullable=False),
        sa.Column("interest_first", sa.Boolean(), nullable=False),
        sa.Column("after_days", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("after_days BETWEEN 0 AND 3650", name="imputation_setting_days"),
        sa.PrimaryKeyConstraint("tenant_id", "entity_id"),
    )
    secure(op, "matching", METADATA)
