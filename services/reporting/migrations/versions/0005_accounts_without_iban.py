"""bank accounts without an IBAN"""

from alembic import op
from reporting.tables import METADATA
from shared.migrations import secure

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.alter_column("collection_account", "iban", nullable=True)
    secure(op, "reporting", METADATA)
