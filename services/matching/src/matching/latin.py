"""Text in the Latin characters that every bank of SEPA takes, for files to banks.

Which these are, and what any other character becomes, says the European Payments Council (EPC217-08, "SEPA Requirements for an Extended
Character Set - Best Practices", and its conversion table): a letter with a mark is the letter, a Greek or Bulgarian one is written as
those countries do in Latin, each alone; some signs have a next of kin (chapter 6.2 for `&`, `@`, `_` and the euro); all else is a full
stop. Not followed: its full stops for letters with marks that no language of the Union has, and its misprints (a b for a capital thorn).
The way back is not known: what is compared with something may not be converted.
"""

import string
import unicodedata

ALLOWED = frozenset(string.ascii_letters + string.digits + "/-?:().,'+ ")
_CAPITALS = (
    dict(zip("ÆÐØÞĐĦĲĿŁŒŦ", "ADOTDHILLOT", strict=True))
    | dict(zip("ΑΒΓΔΕΖΗΙΚΛΜΝΞΟΠΡΣΤΥΦΩ", "AVGDEZIIKLMNXOPRSTYFO", strict=True))
    | dict(zip("АБВГДЕЗИЙКЛМНОПРСТУФХЪЬ", "ABVGDEZIYKLMNOPRSTUFHAY", strict=True))
    | {"Θ": "TH", "Χ": "CH", "Ψ": "PS"}  # noqa: RUF001
    | {"Ж": "ZH", "Ц": "TS", "Ч": "CH", "Ш": "SH", "Щ": "SHT", "Ю": "YU", "Я": "YA"}
)
_WRITTEN = (
    _CAPITALS
    | {letter.lower(): latin.lower() for letter, latin in _CAPITALS.items()}
    | {"ß": "s", "ı": "i", "ς": "s"}  # noqa: RUF001
    | dict(zip(";[]{}\\|_~`¿€&", ",()()//--'?E+", strict=True))
    | {"@": "(at)"}
)


def latin(text: str) -> str:
    """The text in the characters of ALLOWED, and any space in it as one."""
    return " ".join("".join(map(_written, unicodedata.normalize("NFC", text))).split())


def readable(text: str) -> bool:
    """Whether a letter or a digit of the text is left in Latin."""
    return any(map(str.isalnum, latin(text)))


def _written(char: str) -> str:
    if char in ALLOWED:
        return char
    if char.isspace():
        return " "
    bare = "".join(one for one in unicodedata.normalize("NFD", char) if not unicodedata.combining(one))
    return _WRITTEN.get(char) or ("".join(map(_written, bare)) if bare != char else ".")
