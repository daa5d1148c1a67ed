"""${message}"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from shared.migrations import inbox_partitions, secure
from toyservice.tables import METADATA

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
    % if down_revision is None:
    inbox_partitions(op, "toyservice")
    % endif
    secure(op, "toyservice", METADATA)
