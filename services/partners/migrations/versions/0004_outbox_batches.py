"""A row of the outbox holds the events of a transaction as Kafka's record batches."""

from alembic import op
from shared.migrations import batch_outbox

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    batch_outbox(op, "partners")
