"""A proof whose settlement was refused or taken back may be given again."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.drop_index("settlement_proof", table_name="settlement")
    op.create_index(
        "settlement_proof",
        "settlement",
        ["tenant_id", "entity_id", "kind", "proof_reference"],
        unique=True,
        postgresql_where=sa.text("status IN ('requested', 'booked')"),
    )
