"""Names in other than Latin letters are compared by these: what they were known by, digits and Latin words alone, is made anew"""

from alembic import op
from matching.domain.engine.index import name_keys
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy import text

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None

BEYOND_ASCII = "name ~ '[^[:ascii:]]'"


def upgrade() -> None:
    """Forward only."""
    for table in ("customer_identity", "customer_name"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    connection = op.get_bind()
    named = connection.execute(text(f"SELECT tenant_id, customer_id, name FROM customer_identity WHERE {BEYOND_ASCII}")).all()
    op.execute(
        "DELETE FROM customer_name n USING customer_identity i "
        f"WHERE n.tenant_id = i.tenant_id AND n.customer_id = i.customer_id AND i.{BEYOND_ASCII}"
    )
    rows = [{"tenant": tenant, "customer": customer, "value": key} for tenant, customer, name in named for key in sorted(name_keys(name))]
    if rows:
        connection.execute(text("INSERT INTO customer_name (tenant_id, customer_id, value) VALUES (:tenant, :customer, :value)"), rows)
    secure(op, "matching", METADATA)
