"""which payment reversed which write-off: that stands again when its money goes back

What payments had reversed before is not known, and stays owed when their money goes back: a person may write it off again.
"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_table(
        "write_off_reversal",
        *(sa.Column(name, postgresql.UUID(), nullable=False) for name in ("tenant_id", "payment_id", "item_id", "write_off_id")),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="write_off_reversal_above_zero"),
        sa.PrimaryKeyConstraint("tenant_id", "payment_id", "item_id", "write_off_id"),
    )
    secure(op, "matching", METADATA)
