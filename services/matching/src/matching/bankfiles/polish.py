"""Habits of Polish banks in MT940: how they write an account, and the labels of mBank in :86:.

Sources: Nordea Bank Polska, "Specyfikacja formatu plikow MT940" (accounts: NRB or IBAN, a slash before it or none); mBank, "Opis formatu
pliku eksportu wyciagow dziennych MT940": a code and what it is called, then parts `LABEL: value` with a semicolon between. Z RACH. and
OD are account and name of who pays, NA RACH. and DLA of who is paid, TYT. is what the payer says, TNR the bank's number of the
transaction, the same in MT942 and MT940 (so mBank told the authors of WoLpH/mt940).
"""

import re

from stdnum import iban as iban_numbers

from matching.domain.statements import Transaction

NRB = 26
"""Digits of a Polish account number: an IBAN without its country. Banks give the whole in ?38, its end in ?31."""
_PART = re.compile(r"\s*;\s*(?=[^\W\d_][^;:]{1,19}:)")
"""A semicolon before a label; others are the payer's own."""
_LABELS = {
    "Z RACH.": "account",
    "NA RACH.": "account",
    "OD": "name",
    "DLA": "name",
    "TYT.": "text",
    "TNR": "number",
}


def account(text: str) -> str:
    """An account number without spaces and the slash before it; a Polish one as the IBAN that it is."""
    number = "".join(text.split()).upper().lstrip("/")
    return f"PL{number}" if len(number) == NRB and iban_numbers.is_valid(f"PL{number}") else number


def labelled(one: Transaction, text: str) -> bool:
    """Fills in what mBank's labels say; whether the text is one of mBank's. What has another label stays text, behind the payer's."""
    head, *parts = _PART.split(text)
    said: dict[str, str] = {}
    rest = [head]
    for part in parts:
        label, _, value = part.partition(":")
        name, words = _LABELS.get(label), " ".join(value.split())
        if name and name not in said:
            said[name] = words
        else:
            rest.append(" ".join(part.split()))
    if "number" not in said or not said.keys() & {"account", "name"}:
        return False
    one.transaction_id = said["number"] or None
    number = account(said.get("account", ""))
    one.counterparty_iban = number if number.strip("0") else None
    one.counterparty_name = said.get("name") or None
    one.remittance = [words for words in (said.get("text"), "; ".join(rest)) if words]
    return True
