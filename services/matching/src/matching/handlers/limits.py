"""Four eyes: up to which amount one person may give money or a claim away alone, per legal entity and currency.

Rules: without a limit (`storage.limits`) nobody may alone; above it another person than who asked for it decides.
"""

from shared.web.problems import Problem

RULE = "hand"
BY_HAND = frozenset({RULE, "confirmed"})
"""Rules of allocations that a person has made."""


def second_person(requested_by: str, by: str) -> None:
    """Raises a 403 Problem where the one who decides is the one who asked."""
    if requested_by == by:
        raise Problem(403, "four-eyes", "Another person than the one who asked for it decides")
