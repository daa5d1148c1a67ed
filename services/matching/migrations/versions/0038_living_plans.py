"""a customer's living payment plans are found where less is owed of his items"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_index(
        "payment_plan_living", "payment_plan", ["tenant_id", "customer_id"], postgresql_where=sa.text("status = 'active'")
    )
