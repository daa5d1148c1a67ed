"""Accounts as MT940 writes them, told from what is none by their form."""

import re

from stdnum import numdb

BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?", re.ASCII)
BARE_ACCOUNT = re.compile(r"[P0-9][0-9]{8,9}", re.ASCII)
"""A Dutch account number from before the IBAN, a giro number with its P."""
ACCOUNT_MIN = 8
"""Digits of an account number that is not like another by chance."""
IBAN = re.compile(r"([A-Z]{2})[0-9]{2}[A-Z0-9]{11,30}", re.ASCII)
_COUNTRIES = numdb.get("iban")


def is_iban(text: str) -> bool:
    """Whether a text has the form of an IBAN, of a country that has any; its check digits may be wrong."""
    found = IBAN.fullmatch(text)
    return found is not None and bool(_COUNTRIES.info(found[1])[0][1])
