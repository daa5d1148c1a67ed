"""Made-up company numbers, IBANs and creditor references whose check digits are right.

Invariant: whatever is made here passes the validators of python-stdnum; none is looked up in a register, so that some
may belong to somebody: they are for simulations only.
"""

from random import Random
from typing import NamedTuple

from stdnum import iban, luhn
from stdnum.es import ccc, cif
from stdnum.iso7064 import mod_11_10, mod_97_10
from stdnum.nl import bsn

COUNTRIES = ("FR", "DE", "BE", "NL", "ES")
_BELGIAN_BANKS = ("001", "310", "363", "738")  # a Belgian IBAN is valid only with the number of a bank that exists


class CompanyNumbers(NamedTuple):
    """The number in the national register with its ISO 6523 scheme (None where we use the VAT number), and the VAT number."""

    scheme: str | None
    number: str | None
    vat_id: str


def digits(rng: Random, count: int) -> str:
    """`count` digits, the first not zero."""
    return str(rng.randrange(10 ** (count - 1), 10**count))


def siren(rng: Random) -> str:
    """A French SIREN: eight digits and a Luhn digit."""
    head = digits(rng, 8)
    return head + luhn.calc_check_digit(head)


def french_vat(siren_number: str) -> str:
    """The French VAT number of a SIREN: key = (12 + 3 x (SIREN mod 97)) mod 97."""
    return f"FR{(12 + 3 * (int(siren_number) % 97)) % 97:02d}{siren_number}"


def company_numbers(country: str, rng: Random) -> CompanyNumbers:
    """Numbers of an invented company in one of COUNTRIES. Raises ValueError for another country."""
    if country == "FR":
        number = siren(rng)
        return CompanyNumbers("0002", number, french_vat(number))
    if country == "BE":
        head = f"0{digits(rng, 7)}"
        number = f"{head}{97 - int(head) % 97:02d}"
        return CompanyNumbers("0208", number, f"BE{number}")
    if country == "NL":
        return CompanyNumbers("0106", digits(rng, 8), f"NL{_dutch_fiscal_number(rng)}B01")
    if country == "DE":
        head = digits(rng, 8)
        return CompanyNumbers(None, None, f"DE{head}{mod_11_10.calc_check_digit(head)}")
    if country == "ES":
        head = rng.choice("AB") + digits(rng, 7)
        return CompanyNumbers(None, None, f"ES{head}{cif.calc_check_digits(head)[0]}")
    raise ValueError(f"no company numbers are known here for {country!r}")


def make_iban(country: str, rng: Random) -> str:
    """An IBAN of one of COUNTRIES with right national and international check digits. Raises ValueError for another."""
    return with_check_digits(country, _bban(country, rng))


def virtual_iban(country: str, branch: int, index: int) -> str:
    """The `index`-th virtual IBAN (from 0) of a branch (0 to 99,999) of the simulated bank. `country` is FR or DE."""
    if country == "FR":
        return with_check_digits("FR", _french_bban("99999", f"{branch:05d}", f"{index:011d}"))
    if country == "DE":
        return with_check_digits("DE", f"999{branch:05d}{index:010d}")
    raise ValueError(f"the simulated bank has virtual IBANs in FR and DE, not in {country!r}")


def with_check_digits(country: str, bban: str) -> str:
    """The IBAN of a national account number."""
    return f"{country}{iban.calc_check_digits(f'{country}00{bban}')}{bban}"


def creditor_reference(number: str) -> str:
    """The ISO 11649 reference (`RF..`) of a document number: its letters and digits, at most 21 of them, the last ones kept."""
    body = "".join(char for char in number.upper() if char.isascii() and char.isalnum())[-21:]
    if not body:
        raise ValueError("a creditor reference needs a letter or digit")
    return f"RF{mod_97_10.calc_check_digits(f'{body}RF')}{body}"


def _bban(country: str, rng: Random) -> str:
    if country == "FR":
        return _french_bban(digits(rng, 5), digits(rng, 5), digits(rng, 11))
    if country == "DE":
        return digits(rng, 18)
    if country == "BE":
        head = rng.choice(_BELGIAN_BANKS) + digits(rng, 7)
        return f"{head}{int(head) % 97 or 97:02d}"
    if country == "NL":
        return f"ENCO{digits(rng, 10)}"
    if country == "ES":
        bank, account = digits(rng, 8), digits(rng, 10)
        return bank + ccc.calc_check_digits(f"{bank}00{account}") + account
    raise ValueError(f"no account numbers are known here for {country!r}")


def _french_bban(bank: str, branch: str, account: str) -> str:
    key = 97 - (89 * int(bank) + 15 * int(branch) + 3 * int(account)) % 97
    return f"{bank}{branch}{account}{key:02d}"


def _dutch_fiscal_number(rng: Random) -> str:
    """Nine digits that pass the Dutch eleven test; one in eleven heads has no ninth digit."""
    while True:
        head = digits(rng, 8)
        for last in "0123456789":
            if bsn.is_valid(head + last):
                return head + last
