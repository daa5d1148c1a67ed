"""What an item could not follow is kept as its invoice said it, to be followed later; of what was noted before, its next version is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("item_review", sa.Column("said", postgresql.JSONB()))
