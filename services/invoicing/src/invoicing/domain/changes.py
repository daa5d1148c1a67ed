"""What an invoice that a source sends means, given what is known under its id.

Invariant: the decision depends on (source version, content) alone. So a repeat changes nothing, whenever it comes, and two
deliveries in either order end in the same state.
"""

from dataclasses import dataclass
from typing import Literal

FIXED = ("kind", "origin", "currency")
"""What no version of an invoice may change: the source cancels it and issues another."""


class RefusedError(Exception):
    """The source contradicts what is known. `code` is stable, the text a sentence for the caller."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Known:
    """What decides about an invoice: its source's version, a digest of all it says, and what may not change."""

    source_version: int
    content: bytes
    kind: str
    origin: str
    currency: str
    cancelled: bool = False


def judge(known: Known | None, offered: Known) -> Literal["created", "changed", "unchanged"]:
    """Whether an offered invoice is new, a change, or nothing new (the same again, or older than what is known).

    Raises RefusedError: `source-version-reused` for other content under a known version, `invoice-cancelled` for a change of
    a cancelled invoice, `invoice-fixed` for a change of its kind, origin or currency.
    """
    if known is None:
        return "created"
    if offered.source_version < known.source_version:
        return "unchanged"
    if offered.source_version == known.source_version:
        if offered.content != known.content:
            raise RefusedError("source-version-reused", "this version of the invoice is known with other content")
        return "unchanged"
    if known.cancelled:
        raise RefusedError("invoice-cancelled", "the invoice was cancelled; issue another")
    for name in FIXED:
        if getattr(known, name) != getattr(offered, name):
            raise RefusedError("invoice-fixed", f"an invoice's {name} does not change; cancel it and issue another")
    return "changed"
