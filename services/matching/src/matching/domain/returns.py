"""What a bank's reason for taking money back means (ISO 20022 external return and cancellation reason codes).

Hard: the account will not pay, whoever asks again. Soft: it may pay later. The rest is no word about the debtor's means: he
asked for the money back, the payment was a duplicate, the payer's bank cancelled it, or a rule of supervision forbade it.
A code that is not listed says nothing, and nothing is made up for it.
"""

from typing import Literal

from matching.domain.rows import NO_RECEIVABLE
from matching.domain.statements import Transaction

ReturnClass = Literal["hard", "soft", "refund", "duplicate", "cancellation", "regulatory"]

REPLACED = "replaced_by_details"
"""The reason of a payment that a batch total was booked as by hand, and whose details have come."""
STAYED = frozenset({REPLACED, NO_RECEIVABLE})
"""Reasons by which a payment is none of ours to count on, and its money did not go back."""

# Ours: `cash_given_back`, a settlement in cash that was taken back; `REPLACED`; `NO_RECEIVABLE`, which tells nothing of a debtor.
_CODES: dict[ReturnClass, tuple[str, ...]] = {
    "hard": ("ac01", "ac04", "ac06", "ag01", "md01", "md07"),
    "soft": ("am04", "ms02", "ms03"),
    "refund": ("md06",),
    "duplicate": ("am05", "dupl", REPLACED),
    "cancellation": ("cust", "focr", "tech", "frad", "cash_given_back", NO_RECEIVABLE),
    "regulatory": ("rr01", "rr02", "rr03", "rr04"),
}
CLASSES: dict[str, ReturnClass] = {code: kind for kind, codes in _CODES.items() for code in codes}


def reason_code(reason: str) -> str:
    """A bank's return reason as a code of ours: AC04 is `ac04`; what has no letter or digit is `unknown`."""
    return "".join(char for char in reason.lower() if char.isascii() and (char.isalnum() or char in "_.-"))[:64] or "unknown"


def return_class(reason: str | None) -> ReturnClass | None:
    """What a reason code means; None where the code is not known or there is none."""
    return CLASSES.get(reason or "")


def is_fee(one: Transaction, left: int, limit_minor: int) -> bool:
    """Whether what a bank takes beyond what a payment has left is a fee of the bank's, which it adds to a return.

    The file says so (its charges, or the original amount), or it is no more than one person may give away alone. A larger debit is about
    something else as well, and closed as a return that would be nobody's.
    """
    beyond = one.amount_minor - left
    stated = sum(charge.minor for charge in one.charges if charge.currency == one.currency)
    original = one.instructed is not None and (one.instructed.minor, one.instructed.currency) == (left, one.currency)
    return original or beyond <= max(limit_minor, stated)
