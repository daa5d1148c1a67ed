"""A row of the outbox holds the events of a transaction that have most headers in common."""

from alembic import op
from shared.migrations import fold_outbox

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    fold_outbox(op)
