"""one proof settles once however its number is written"""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op
from matching.tables import METADATA
from shared.migrations import secure

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward only.

    Where one paper stands under two writings already, both stay as they are: what is booked only a person can judge. The first has the
    key, and refuses every other writing of it from now on; the others have none, and refuse nothing.
    """
    op.add_column("settlement", sa.Column("proof_key", sa.Text()))
    op.execute("ALTER TABLE settlement NO FORCE ROW LEVEL SECURITY")
    bind, seen = op.get_bind(), set()
    rows = bind.execute(
        sa.text(
            "SELECT tenant_id, settlement_id, entity_id, kind, proof_reference, status IN ('requested', 'booked') AS counts FROM settlement "
            "ORDER BY status = 'booked' DESC, requested_at, settlement_id"
        )
    )
    keyed = []
    for row in rows.fetchall():
        paper = (row.tenant_id, row.entity_id, row.kind, key := _key(row.proof_reference))
        if row.counts and paper in seen:
            continue
        if row.counts:
            seen.add(paper)
        keyed.append({"tenant": row.tenant_id, "id": row.settlement_id, "key": key})
    if keyed:
        bind.execute(sa.text("UPDATE settlement SET proof_key = :key WHERE tenant_id = :tenant AND settlement_id = :id"), keyed)
    secure(op, "matching", METADATA)
    op.drop_index("settlement_proof", table_name="settlement")
    op.create_index(
        "settlement_proof",
        "settlement",
        ["tenant_id", "entity_id", "kind", "proof_key"],
        unique=True,
        postgresql_where=sa.text("status IN ('requested', 'booked')"),
    )


def _key(reference: str) -> str:
    """As `matching.domain.proofs` compared them then."""
    found = ""
    for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", reference).casefold()):
        found += f"-{word}" if found[-1:].isdigit() and word[0].isdigit() else word
    return found or reference
