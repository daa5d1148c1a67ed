"""Where an invoice stands in its e-invoice life cycle: a function of the log of all statuses that were ever sent about it.

Statuses 200 to 213 are those of the French reform (external specifications of the DGFiP, norm XP Z12-012). Messages come
late, twice and in any order, so the log is put in order of the statuses' own dates and gone through from the start:
- a status of transmission (200 to 203) never undoes one of business, nor an earlier step of transmission a later one;
- after 210 refused or 213 rejected the invoice is over for its buyer: only such a status, or money (212), follows;
- after 212 collected only what is about money or contests follows (206, 207, 208, 210, 212);
- everything else stands from its date until the next.

Invariant: what stands is the same for every order of arrival and any repetition.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

STATUSES = {
    200: "Déposée",
    201: "Émise par la plateforme",
    202: "Reçue par la plateforme",
    203: "Mise à disposition",
    204: "Prise en charge",
    205: "Approuvée",
    206: "Approuvée partiellement",
    207: "En litige",
    208: "Suspendue",
    209: "Complétée",
    210: "Refusée",
    211: "Paiement transmis",
    212: "Encaissée",
    213: "Rejetée",
}
IN_DISPUTE, COLLECTED = 207, 212
_TRANSMISSION = frozenset({200, 201, 202, 203})
_OVER = frozenset({210, 213})
_AFTER_OVER = _OVER | {COLLECTED}
_AFTER_COLLECTED = frozenset({206, 207, 208, 210, COLLECTED})


@dataclass(frozen=True, slots=True)
class Logged:
    """One line of the log. A line without a status takes back the one whose message it names (`lifts`)."""

    message_id: str
    at: datetime
    status: int | None
    lifts: str | None = None


def stands(log: Iterable[Logged]) -> Logged | None:
    """The status that stands, or None: nothing was said, or all of it was taken back."""
    lines = sorted(log, key=lambda line: (line.at, line.status or 0, line.message_id))
    lifted = {line.lifts for line in lines if line.lifts is not None}
    current: Logged | None = None
    for line in lines:
        if line.status is None or line.message_id in lifted:
            continue
        if current is None or current.status is None or _follows(current.status, line.status):
            current = line
    return current


def _follows(current: int, offered: int) -> bool:
    """Whether a status of a later date takes the place of another."""
    if offered in _TRANSMISSION:
        return current in _TRANSMISSION and offered >= current
    if current in _OVER:
        return offered in _AFTER_OVER
    if current == COLLECTED:
        return offered in _AFTER_COLLECTED
    return True
