"""Identifiers on an e-invoice, by their own check digits. All are warnings: a wrong digit does not undo what is owed.

Rules (all `encours`; sources in docs/e-invoices.md):
  ENC-VAT      a VAT number has not the form, or the check digits, of its country (the form that VIES takes; VIES is not asked)
  ENC-SIREN    SIREN (scheme 0002): nine digits, Luhn            ENC-SIRET  SIRET (0009): fourteen digits, Luhn
  ENC-DUNS     D-U-N-S (0060): nine digits                       ENC-GLN    GLN (0088): thirteen digits, modulo 10
  ENC-LEI      LEI (0199): ISO 17442
  ENC-IBAN     an account that looks like an IBAN fails ISO 13616 (length by country, modulo 97)
  ENC-BIC      a BIC is not eight or eleven characters of ISO 9362
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from stdnum import bic, ean, iban, lei
from stdnum.eu import vat
from stdnum.fr import siren, siret

from invoicing.domain.einvoice import EInvoice, Finding

_LIKE_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}")
_LIKE_VAT = re.compile(r"[A-Z]{2}[A-Z0-9+*]{2,14}")
_DUNS = re.compile(r"[0-9]{9}")
# ISO/IEC 6523 schemes as EN 16931's code list ICD names them
_SCHEMES = {
    "0002": ("ENC-SIREN", "is no SIREN", siren.is_valid),
    "0009": ("ENC-SIRET", "is no SIRET", siret.is_valid),
    "0060": ("ENC-DUNS", "is no D-U-N-S number", lambda value: _DUNS.fullmatch(value.replace("-", "")) is not None),
    "0088": ("ENC-GLN", "is no GLN", lambda value: len(ean.compact(value)) == 13 and ean.is_valid(value)),  # noqa: PLR2004 - a GLN's
    "0199": ("ENC-LEI", "is no LEI", lei.is_valid),
}
_EU = frozenset(vat.MEMBER_STATES) - {"gr"} | {"el"}  # Greek numbers begin with EL


def findings(invoice: EInvoice) -> list[Finding]:
    """What is wrong with the identifiers of seller and buyer, the account and the bank."""
    return [*_party(invoice, "seller"), *_party(invoice, "buyer"), *_payment(invoice)]


def company_id_fault(scheme: str, value: str) -> str | None:
    """What is wrong with a company's number, its form or check digits; None where nothing is, or its scheme has no check we know."""
    wrong = _wrong(scheme, value)
    return None if wrong is None else wrong[1]


def _party(invoice: EInvoice, which: str) -> Iterator[Finding]:
    party = invoice.seller if which == "seller" else invoice.buyer
    for scheme, value in party.identifiers:
        wrong = _wrong(scheme, value)
        if wrong is not None:
            rule, what = wrong
            yield Finding(rule, f"/{invoice.root}", f"{what}, of the {which}", "warning")


@lru_cache(maxsize=4096)  # the same sellers and buyers come again and again
def _wrong(scheme: str, value: str) -> tuple[str, str] | None:
    """The rule that an identifier breaks, and in words."""
    if scheme == "vat":
        compact = re.sub(r"[ .-]", "", value).upper()
        if _LIKE_VAT.fullmatch(compact) and compact[:2].lower() in _EU and not vat.is_valid(compact):
            return "ENC-VAT", "a VAT number has a wrong form or check digit"
    elif scheme in _SCHEMES:
        rule, what, holds = _SCHEMES[scheme]
        if not holds(value):
            return rule, f"an identifier of scheme {scheme} {what}"
    return None


def _payment(invoice: EInvoice) -> Iterator[Finding]:
    if invoice.account is not None:
        compact = iban.compact(invoice.account)
        if _LIKE_IBAN.fullmatch(compact) and not iban.is_valid(compact, check_country=False):
            yield Finding(
                "ENC-IBAN",
                f"/{invoice.root}",
                "the account to pay to looks like an IBAN, and its length or check digits are wrong",
                "warning",
            )
    if invoice.bic is not None and not bic.is_valid(invoice.bic):
        yield Finding("ENC-BIC", f"/{invoice.root}", "the bank's BIC is not of the form of ISO 9362", "warning")
