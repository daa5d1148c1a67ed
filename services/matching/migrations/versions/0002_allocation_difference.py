"""what leaves an item beside the money received: discount, charges, tolerance"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("allocation", sa.Column("diff_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("allocation", sa.Column("diff_reason", sa.Text(), nullable=True))
    op.create_check_constraint("allocation_difference", "allocation", "diff_minor >= 0 AND (diff_minor = 0 OR diff_reason IS NOT NULL)")


def downgrade() -> None:
    op.drop_constraint("allocation_difference", "allocation")
    op.drop_column("allocation", "diff_reason")
    op.drop_column("allocation", "diff_minor")
