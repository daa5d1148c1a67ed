"""Whether a number is another one but for one letter."""

from functools import lru_cache


def near(written: str, known: str) -> bool:
    """Whether one letter is wrong, missing, too many, or two are exchanged."""
    if abs(len(written) - len(known)) > 1:
        return False
    at = 0
    for a, b in zip(written, known, strict=False):
        if a != b:
            break
        at += 1
    rest, other = written[at:], known[at:]
    return rest[1:] == other[1:] or rest[1:] == other or rest == other[1:] or (rest[:2] == other[1::-1] and rest[2:] == other[2:])


@lru_cache(maxsize=20_000)
def shortened(value: str) -> frozenset[str]:
    """The value, and all that is left of it without one letter: two that are `near` have one of these in common."""
    return frozenset([value, *(value[:at] + value[at + 1 :] for at in range(len(value)))])
