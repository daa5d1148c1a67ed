"""The dunning policy of a tenant: versioned data, off until switched on.

Rule: `enabled_from` is the business day of the switch (or a later one); switching off and on again starts anew, so days in
between are not caught up either. A change while it is on keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.days import business_day
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.policy import Step
from dunning.storage import policies as storage

DEFAULT: Mapping[str, Any] = {
    "steps": [
        {"code": "courtesy", "level": 0, "days_from_due": -5, "template": "courtesy"},
        {"code": "reminder_1", "level": 1, "days_from_due": 7, "template": "reminder"},
        {"code": "reminder_2", "level": 2, "days_from_due": 21, "template": "second_reminder"},
        {"code": "formal_notice", "level": 3, "days_from_due": 35, "template": "formal_notice"},
    ],
    "minimum_minor": {},
    "sender": {"name": "Accounts receivable", "email": "receivables@localhost.localdomain"},
    "gate_lag_days": 1,
    "attach_copies": False,
}
"""What a tenant starts from; it is off."""


class StaleError(Exception):
    """Somebody else changed the policy meanwhile."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A version of the policy as the rules read it."""

    version: int
    document: Mapping[str, Any]
    enabled: bool
    enabled_from: date | None
    steps: tuple[Step, ...]

    def active_on(self, day: date) -> bool:
        """Whether reminders are sent on a day."""
        return self.enabled and self.enabled_from is not None and self.enabled_from <= day

    @property
    def minimum_minor(self) -> Mapping[str, int]:
        """Below this sum, by currency, nobody is reminded."""
        found: Mapping[str, int] = self.document["minimum_minor"]
        return found

    @property
    def gate_lag_days(self) -> int:
        """How many days before a reminder's day the bank's word may end."""
        return int(self.document["gate_lag_days"])

    @property
    def attach_copies(self) -> bool:
        """Whether a mail carries the invoices it asks for, as far as there are readable copies."""
        return bool(self.document.get("attach_copies", False))

    @property
    def sender_name(self) -> str:
        """Who writes."""
        return str(self.document["sender"]["name"])

    @property
    def sender_email(self) -> str:
        """From where."""
        return str(self.document["sender"]["email"])


def _policy(version: int, document: Mapping[str, Any], *, enabled: bool, enabled_from: date | None) -> Policy:
    return Policy(version, document, enabled, enabled_from, tuple(Step(**step) for step in document["steps"]))


async def policy_of(conn: AsyncConnection, tenant_id: UUID) -> Policy:
    """The policy of a tenant: the default, off, where nobody has set one."""
    row = await storage.current(conn, tenant_id)
    if row is None:
        return _policy(0, DEFAULT, enabled=False, enabled_from=None)
    return _policy(row.version, row.document, enabled=row.enabled, enabled_from=row.enabled_from)


async def change(
    conn: AsyncConnection,
    tenant_id: UUID,
    document: Mapping[str, Any],
    *,
    enabled: bool,
    enabled_from: date | None,
    by: str,
    now: datetime,
    based_on: int | None = None,
) -> Policy:
    """Stores a new version and returns it. Raises ValueError where `enabled_from` would catch days up, and StaleError where
    it is based on another version than the one in force.
    """
    await storage.lock(conn, tenant_id)
    before = await policy_of(conn, tenant_id)
    if based_on not in (None, before.version):
        raise StaleError(f"version {before.version} is in force")
    today = business_day(now)
    first = None
    if enabled:
        kept = before.enabled_from if before.enabled else None
        if enabled_from is not None and enabled_from != kept and enabled_from < today:
            raise ValueError("enabled_from lies before today: days that have passed are never caught up")
        first = enabled_from or kept or today
    await storage.add(conn, tenant_id, before.version + 1, document, enabled=enabled, enabled_from=first, by=by, now=now)
    return await policy_of(conn, tenant_id)
