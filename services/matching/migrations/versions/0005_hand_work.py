"""hand work: limits, write-offs, refunds and their files, recalls"""

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATUS = "status IN ('received', 'matched', 'partly_matched', 'unapplied', 'returned', 'refunded')"


def _row(*columns: sa.Column[object]) -> list[sa.Column[object]]:
    return [sa.Column("tenant_id", sa.UUID(), nullable=False), *columns]


def _of(name: str, kind: sa.types.TypeEngine[object], *, null: bool = False, default: str | None = None) -> sa.Column[object]:
    return sa.Column(name, kind, nullable=null, server_default=default)


def upgrade() -> None:
    """Forward only."""
    at, text, uuid, big = sa.DateTime(timezone=True), sa.Text(), sa.UUID(), sa.BigInteger()
    op.add_column("payment", sa.Column("refund_pending_minor", big, server_default="0", nullable=False))
    op.create_check_constraint("payment_refund_pending", "payment", "refund_pending_minor BETWEEN 0 AND refunded_minor")
    op.drop_constraint("payment_status", "payment")
    op.create_check_constraint("payment_status", "payment", _STATUS)
    op.create_table(
        "hand_work_limit",
        *_row(_of("entity_id", uuid), _of("currency", text), _of("limit_minor", big)),
        sa.CheckConstraint("limit_minor >= 0", name="hand_work_limit_not_negative"),
        sa.PrimaryKeyConstraint("tenant_id", "entity_id", "currency"),
    )
    op.create_table(
        "write_off",
        *_row(
            _of("write_off_id", uuid),
            _of("version", big),
            _of("entity_id", uuid),
            _of("item_id", uuid),
            _of("currency", text),
            _of("amount_minor", big),
            _of("reversed_minor", big, default="0"),
            _of("reason", text),
            _of("note", text, null=True),
            _of("status", text),
            _of("requested_by", text),
            _of("decided_by", text, null=True),
            _of("requested_at", at),
            _of("decided_at", at, null=True),
        ),
        sa.CheckConstraint("amount_minor > 0 AND reversed_minor BETWEEN 0 AND amount_minor", name="write_off_amounts"),
        sa.CheckConstraint("status IN ('requested', 'booked', 'refused', 'reversed')", name="write_off_status"),
        sa.PrimaryKeyConstraint("tenant_id", "write_off_id"),
    )
    op.create_index("write_off_item", "write_off", ["tenant_id", "item_id"])
    op.create_table(
        "refund",
        *_row(
            _of("refund_id", uuid),
            _of("payment_id", uuid),
            _of("entity_id", uuid),
            _of("bank_account_id", uuid),
            _of("currency", text),
            _of("amount_minor", big),
            _of("reason", text),
            _of("creditor_name", text),
            _of("creditor_iban", text),
            _of("end_to_end_id", text),
            _of("status", text),
            _of("requested_by", text),
            _of("decided_by", text, null=True),
            _of("requested_at", at),
            _of("decided_at", at, null=True),
            _of("refund_file_id", uuid, null=True),
        ),
        sa.CheckConstraint("amount_minor > 0", name="refund_above_zero"),
        sa.CheckConstraint("status IN ('requested', 'approved', 'sent', 'paid', 'refused', 'cancelled')", name="refund_status"),
        sa.PrimaryKeyConstraint("tenant_id", "refund_id"),
    )
    op.create_index("refund_payment", "refund", ["tenant_id", "payment_id"])
    op.create_index("refund_end_to_end", "refund", ["tenant_id", "bank_account_id", "end_to_end_id"], unique=True)
    op.create_table(
        "refund_file",
        *_row(
            _of("refund_file_id", uuid),
            _of("bank_account_id", uuid),
            _of("content", sa.LargeBinary()),
            _of("sha256", text),
            _of("refunds", big),
            _of("amount_minor", big),
            _of("execution_date", sa.Date()),
            _of("created_by", text),
            _of("created_at", at),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "refund_file_id"),
    )
    op.create_table(
        "recall",
        *_row(
            _of("recall_id", uuid),
            _of("payment_id", uuid),
            _of("entity_id", uuid),
            _of("bank_account_id", uuid),
            _of("currency", text),
            _of("amount_minor", big),
            _of("reason", text),
            _of("cancellation_id", text),
            _of("allocations", postgresql.JSONB()),
            _of("status", text),
            _of("decided_by", text, null=True),
            _of("received_at", at),
            _of("decided_at", at, null=True),
        ),
        sa.CheckConstraint("amount_minor > 0", name="recall_above_zero"),
        sa.CheckConstraint("status IN ('open', 'accepted', 'refused', 'settled')", name="recall_status"),
        sa.PrimaryKeyConstraint("tenant_id", "recall_id"),
    )
    op.create_index("recall_payment", "recall", ["tenant_id", "payment_id"])
    secure(op, "matching", METADATA)
