"""bank accounts without an IBAN"""

from alembic import op
from dunning.tables import METADATA
from shared.migrations import secure

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.alter_column("bank_account", "iban", nullable=True)
    secure(op, "dunning", METADATA)
