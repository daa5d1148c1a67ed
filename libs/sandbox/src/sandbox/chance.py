"""Chance that repeats: every random choice of the sandbox is named by what it is about.

Invariant: the same parts give the same stream, in every process and whatever was drawn for anything else before.
"""

from random import Random


def chance(*parts: object) -> Random:
    """A stream of its own for `parts`, such as ("payment", seed, invoice number)."""
    return Random("\x1f".join(map(str, parts)))  # noqa: S311 - a simulation must repeat; nothing here is secret
