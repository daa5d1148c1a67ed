"""An outbox row may be a tombstone; which ids stand for others."""

import sqlalchemy as sa
from alembic import op
from shared.migrations import secure

from reporting.tables import METADATA

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.alter_column("outbox", "value", existing_type=sa.Text(), nullable=True)
    op.create_table(
        "alias",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("into_id", sa.UUID(), nullable=True),
        sa.Column("survivor_id", sa.UUID(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("alias_into", "alias", ["tenant_id", "into_id"])
    op.create_index("alias_survivor", "alias", ["tenant_id", "survivor_id"])
    secure(op, "reporting", METADATA)
