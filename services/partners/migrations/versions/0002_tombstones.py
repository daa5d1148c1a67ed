"""An outbox row may be a tombstone."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.alter_column("outbox", "value", existing_type=sa.Text(), nullable=True)
