"""what statements move by day: one file may tell of days that others tell of one by one"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("statement", sa.Column("days", postgresql.JSONB(), nullable=False, server_default="[]"))
    op.execute("ALTER TABLE statement NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "UPDATE statement SET days = jsonb_build_array(jsonb_build_array(last_day, entries, entries_minor)) WHERE last_day IS NOT NULL"
    )
    secure(op, "matching", METADATA)
