"""What a status of the e-invoice's life cycle, set by buyer or platform, means for what is asked.

Rules: 206 (partly approved) and 207 (in dispute) contest the amount that the status says is not approved (MNATTC), else the
whole item; 210 (refused) and 213 (rejected) the whole; 208 (suspended) contests nothing and asks for nothing until another
status comes. Every other status takes back what a status before it contested.

Source: statuses and amounts of the French reform (norm XP Z12-012).
"""

from collections.abc import Iterable

SUSPENDED = 208
NOT_APPROVED = "MNATTC"
_PARTLY = frozenset({206, 207})
_WHOLLY = frozenset({210, 213})


def may_contest(status: int | None) -> bool:
    """Whether a status contests anything of an item that owes."""
    return status in _PARTLY | _WHOLLY


def contested(status: int | None, amounts: Iterable[tuple[str, int]], disputable: int) -> int:
    """How much of an item a status contests, in minor units: at most `disputable`, what is open and not disputed by others."""
    if status in _PARTLY:
        stated = sum(amount for kind, amount in amounts if kind == NOT_APPROVED)
        return min(stated, disputable) if stated > 0 else disputable
    return disputable if status in _WHOLLY else 0
