"""bank accounts without an IBAN: the bank's own number, and which bank it is"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.add_column("bank_account", sa.Column("number", sa.Text(), nullable=True))
    op.add_column("bank_account", sa.Column("bank_id", sa.Text(), nullable=True))
    op.execute("ALTER TABLE bank_account NO FORCE ROW LEVEL SECURITY")
    op.execute("UPDATE bank_account SET number = iban")
    op.alter_column("bank_account", "number", nullable=False)
    op.alter_column("bank_account", "iban", nullable=True)
    op.drop_index("bank_account_iban", "bank_account")
    op.create_index("bank_account_number", "bank_account", ["tenant_id", "number"], unique=True)
    op.create_check_constraint(
        "bank_account_identified", "bank_account", "(iban IS NULL) = (bank_id IS NOT NULL) AND (iban IS NULL OR iban = number)"
    )
    secure(op, "matching", METADATA)
