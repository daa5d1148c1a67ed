"""what the matching engine looks candidates up by: folded references, names, discounts, parents, history; replayable decisions"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FOLD = "translate({}, 'OILSB', '01158')"
_PLAIN = "regexp_replace(upper({}), '[^A-Z0-9]', '', 'g')"


def upgrade() -> None:
    """Forward only. What is stored already becomes findable by its plain forms; the finer ones come with its next event."""
    op.add_column("customer", sa.Column("number_key", sa.Text()))
    op.add_column("customer", sa.Column("parent_customer_id", sa.UUID()))
    op.create_index("customer_number_key", "customer", ["tenant_id", "number_key"])
    op.create_index(
        "customer_parent", "customer", ["tenant_id", "parent_customer_id"], postgresql_where=sa.text("parent_customer_id IS NOT NULL")
    )
    op.create_table(
        "customer_name",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "value", "customer_id"),
    )
    op.create_index("customer_name_customer", "customer_name", ["tenant_id", "customer_id"])
    op.create_table(
        "matching_policy",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("threshold", sa.Float(53), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("threshold BETWEEN 0.85 AND 1", name="matching_policy_threshold"),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "item_discount",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("item_id", sa.UUID(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("percent_bp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "item_id", "until"),
    )
    op.create_table(
        "payment_clue",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(collation="C"), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=False),
        sa.CheckConstraint("kind IN ('document', 'name')", name="payment_clue_kind"),
        sa.PrimaryKeyConstraint("tenant_id", "kind", "value", "payment_id"),
    )
    op.create_index("payment_clue_payment", "payment_clue", ["tenant_id", "payment_id"])
    op.add_column("decision", sa.Column("inputs", postgresql.JSONB()))
    op.add_column("decision", sa.Column("named_customers", postgresql.ARRAY(sa.UUID())))
    op.drop_index("payment_open_debtor", "payment")
    for name, column in (("payment_debtor", "debtor_iban"), ("payment_payer", "payer_customer_id")):
        op.create_index(name, "payment", ["tenant_id", column, "booking_date"], postgresql_where=sa.text(f"{column} IS NOT NULL"))
    op.create_index("allocation_charges", "allocation", ["tenant_id", "diff_minor"], postgresql_where=sa.text("diff_reason = 'bank_charges'"))
    op.drop_index("open_item_customer", "open_item")
    op.create_index("open_item_customer", "open_item", ["tenant_id", "customer_id", "status", "due_date"])
    op.drop_constraint("item_reference_kind", "item_reference")
    op.create_check_constraint("item_reference_kind", "item_reference", "kind IN ('structured', 'number', 'folded')")
    for table in ("customer", "customer_name", "customer_identity", "item_reference"):
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"UPDATE customer SET number_key = {_FOLD.format(_PLAIN.format('customer_number'))}")  # noqa: S608 - our own text
    op.execute(
        f"INSERT INTO customer_name SELECT tenant_id, {_PLAIN.format('name')}, customer_id FROM customer_identity "  # noqa: S608 - our own text
        f"WHERE {_PLAIN.format('name')} <> ''"
    )
    for folded in (_FOLD.format("value"), "substring(value FROM '^[A-Z]+([0-9]{7,})$')"):
        op.execute(
            f"INSERT INTO item_reference (tenant_id, entity_id, value, kind, item_id) SELECT tenant_id, entity_id, {folded}, 'folded', item_id "  # noqa: S608 - our own text
            f"FROM item_reference WHERE {folded} <> value ON CONFLICT DO NOTHING"
        )
    secure(op, "matching", METADATA)
