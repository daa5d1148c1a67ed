"""payments by what returns and batch totals name them by"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    for name, column in (("bank_reference", "bank_reference"), ("entry_reference", "entry_reference"), ("transaction", "transaction_id")):
        op.create_index(
            f"payment_{name}", "payment", ["tenant_id", "bank_account_id", column], postgresql_where=sa.text(f"{column} IS NOT NULL")
        )
