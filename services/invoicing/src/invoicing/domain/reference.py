"""ISO 11649 creditor references (`RF` + 2 check digits + up to 21 characters), made for invoices that print none.

Invariants: the reference is a function of the invoice's number and id, so making it twice gives the same; two invoices of
one entity get different ones even where their numbers differ only in punctuation (eight characters come from the id).
"""

import re
from uuid import UUID

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TAIL = 8
_BODY_MAX = 21
_OTHER = re.compile(r"[^0-9A-Z]+")


def creditor_reference(invoice_number: str, invoice_id: UUID) -> str:
    """The reference of an invoice: the end of its number in capitals and digits, then eight characters of its id.

    Eight characters of base 36 are 41 bits: what tells apart invoices whose numbers read alike.
    """
    number = _OTHER.sub("", invoice_number.upper())[-(_BODY_MAX - _TAIL) :]
    rest, tail = invoice_id.int, ""
    for _ in range(_TAIL):
        rest, digit = divmod(rest, len(_DIGITS))
        tail += _DIGITS[digit]
    body = number + tail
    return f"RF{98 - _mod97(body + 'RF00'):02d}{body}"


def is_creditor_reference(text: str) -> bool:
    """Whether a text, spaces aside, is an ISO 11649 reference with right check digits."""
    compact = text.replace(" ", "").upper()
    return re.fullmatch(r"RF[0-9]{2}[0-9A-Z]{1,21}", compact) is not None and _mod97(compact[4:] + compact[:4]) == 1


def _mod97(text: str) -> int:
    """ISO 7064 MOD 97-10: letters count as 10 to 35."""
    return int("".join(str(_DIGITS.index(char)) for char in text)) % 97
