"""Usual exchange rates are those of the last days: a busy tenant's first five hundred exchanges were its oldest."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only."""
    op.execute("ALTER TABLE allocation_exchange ADD COLUMN booking_date date")
    op.execute(
        "UPDATE allocation_exchange x SET booking_date = p.booking_date FROM payment p "
        "WHERE p.tenant_id = x.tenant_id AND p.payment_id = x.payment_id"
    )
    op.execute("ALTER TABLE allocation_exchange ALTER COLUMN booking_date SET NOT NULL")
    op.create_index("allocation_exchange_day", "allocation_exchange", ["tenant_id", "booking_date"])
