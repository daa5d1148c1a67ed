"""An import knows the drop's file that it came from, once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.create_index("import_run_source", "import_run", ["tenant_id", "source"], unique=True, postgresql_where=sa.text("source <> 'api'"))
