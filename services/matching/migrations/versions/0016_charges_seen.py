"""bank charges are sampled by payment, whose ids are random: by amount, the first of many were the smallest"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.drop_index("allocation_charges", "allocation")
    op.create_index("allocation_charges", "allocation", ["tenant_id", "payment_id"], postgresql_where=sa.text("diff_reason = 'bank_charges'"))
