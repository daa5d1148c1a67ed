"""models learnt from a tenant's own books"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "matching_model",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("certificate", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("learnt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )
    op.create_index("matching_model_in_force", "matching_model", ["tenant_id"], unique=True, postgresql_where=sa.text("in_force"))
    secure(op, "matching", METADATA)
