"""above the limit a second person accepts a recall"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("recall", sa.Column("requested_by", sa.Text(), nullable=True))
    op.drop_constraint("recall_status", "recall")
    op.create_check_constraint("recall_status", "recall", "status IN ('open', 'requested', 'accepted', 'refused', 'settled')")
