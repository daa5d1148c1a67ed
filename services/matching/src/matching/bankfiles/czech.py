"""Habits of Czech banks in MT940, which part :86: as German ones do and mean something else by the code before it.

Source: CSOB, "Structures and contents of the output reports MT940 for MultiCash and BusinessBanking": 111 is a domestic payment, 115 a
SEPA transfer, 105 a SEPA collection, 030 a foreign payment, 040 anything else; VS, SS and KS are the symbols of a payment. A domestic
payment has the other's name in ?00 and, before the symbols, the account: prefix, number and bank.
"""

import re

from stdnum import iban as iban_numbers

from matching.bankfiles import schemes
from matching.domain.statements import Transaction

DOMESTIC = "111"
_SYMBOLS = re.compile(r"[?^>~|](?:2[0-9]|6[0-9])[VSK]S:", re.ASCII)
_ACCOUNT = re.compile(r"([0-9]{6})-([0-9]{10})/([0-9]{4})", re.ASCII)
_CURRENCY = "CZK"


def is_czech(text: str, own: str) -> bool:
    """Whether a text in fields is on a Czech or Slovak account, or has a field that begins with a symbol."""
    return own.startswith(("CZ", "SK")) or _SYMBOLS.search(text) is not None


def describe(one: Transaction, business: str | None, name: str) -> None:
    """Fills in the symbol and, of a domestic payment, who the other is; the lines of the text are there already. `name`: what ?00 says."""
    one.remittance = [line for line in one.remittance if line != "."]  # an empty field
    symbol = schemes.variable_symbol_in(" ".join(one.remittance))
    one.references += [symbol] if symbol else []
    if business != DOMESTIC or not one.remittance or not (account := _ACCOUNT.fullmatch(one.remittance[0])):
        return
    prefix, number, bank = account.groups()
    local = f"{bank}{prefix}{number}"
    one.counterparty_iban = f"CZ{iban_numbers.calc_check_digits('CZ00' + local)}{local}" if one.currency == _CURRENCY else account[0]
    one.counterparty_name = one.counterparty_name or " ".join(name.split()) or None
    del one.remittance[0]
