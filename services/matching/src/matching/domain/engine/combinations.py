"""Which items add up to an amount. Every search is bounded; what it returns is exact and in a fixed order.

Structured sets come first, because payers pay by rule: one item; a run of items in due order (all due until a day, a month,
the whole account); such a run but for a few that are withheld; and last any few of the oldest.
"""

from collections.abc import Sequence

FEW_MAX = 5
"""Most items of a set without structure."""
POOL_MAX = 16
"""Oldest items among which sets without structure are looked for."""
FOUND_MAX = 12
"""Solutions of one form after which a search stops: so many are no answer."""


def runs(amounts: Sequence[int], target: int) -> list[tuple[int, int]]:
    """Runs of two or more items that add up to the target, as first place and place after the last."""
    seen: dict[int, list[int]] = {0: [0]}
    total = 0
    found: list[tuple[int, int]] = []
    for end, amount in enumerate(amounts, 1):
        total += amount
        for start in seen.get(total - target, ()):
            if end - start > 1:
                found.append((start, end))
                if len(found) >= FOUND_MAX:
                    return found
        seen.setdefault(total, []).append(end)
    return found


def few(  # noqa: C901, PLR0912 - nested loops over pairs
    amounts: Sequence[int], target: int, *, largest: int = FEW_MAX
) -> list[tuple[int, ...]]:
    """Sets of two to `largest` of the first POOL_MAX amounts that add up to the target, smallest first, then oldest.

    Sets that differ only by equal amounts count once, with the earliest places.
    """
    pool = list(amounts[:POOL_MAX])
    halves: dict[int, list[tuple[int, ...]]] = {}
    for first in range(len(pool)):
        for second in range(first + 1, len(pool)):
            halves.setdefault(pool[first] + pool[second], []).append((first, second))
    found: dict[tuple[int, ...], tuple[int, ...]] = {}

    def note(places: tuple[int, ...]) -> bool:
        kind = tuple(sorted(pool[at] for at in places))
        if kind not in found or places < found[kind]:
            found[kind] = places
        return len(found) >= FOUND_MAX

    for pair in halves.get(target, ()):
        note(pair)
    if largest > 2:  # noqa: PLR2004
        for first in range(len(pool)):
            for pair in halves.get(target - pool[first], ()):
                if pair[0] > first and note((first, *pair)):
                    return _ordered(found)
    if largest > 3:  # noqa: PLR2004
        for total, lefts in halves.items():
            rights = halves.get(target - total)
            if rights:
                for left in lefts:
                    for right in rights:
                        if left[1] < right[0] and note((*left, *right)):
                            return _ordered(found)
    if largest > 4 and len(pool) <= 12:  # noqa: PLR2004
        for first in range(len(pool)):
            for total, lefts in halves.items():
                rights = halves.get(target - pool[first] - total)
                if rights:
                    for left in lefts:
                        if left[0] > first:
                            for right in rights:
                                if left[1] < right[0] and note((first, *left, *right)):
                                    return _ordered(found)
    return _ordered(found)


def _ordered(found: dict[tuple[int, ...], tuple[int, ...]]) -> list[tuple[int, ...]]:
    return sorted(found.values(), key=lambda places: (len(places), places))
