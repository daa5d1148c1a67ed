"""Reads remittance lists from files: CSV, XLSX and EDIFACT REMADV, all into the same lines.

CSV and XLSX: a header row with `document_number`, `gross`, `deduction`, `deduction_reason`, `net` in any order (`gross` or
`net` may be left out where there is no deduction), and `item_amount`, `item_currency` for items in another currency; amounts in
major units with a point or, in text, a decimal comma, and without separators of thousands: `1,000` of a currency that has no three
decimals may be one or a thousand, and is refused, as a row with more cells than the header is, which an amount with a bare comma makes.
REMADV (UN/EDIFACT D.96A and later, EANCOM): RFF+PQ or the BGM's number is the reference, CUX the currency of payment and, where it
has a target currency, the rate to it (payment currency multiplied by rate = target); each DOC a line with MOA 9 (amount due, in another
currency where the document is), 12 (amount remitted) and 52 (discount); MOA 12, 139 or 128 after UNS is the total. The decimal mark is a
comma or a point, whatever UNA says (ISO 9735). Amounts of a credit note are below zero, whether they bear a sign or its code says so.
Nothing is guessed and nothing rounded: what cannot be read is said with its row or document, its column or segment, and what stands there.
"""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import openpyxl
from pydifact.parser import Parser
from pydifact.segments import Segment, SegmentFactory
from shared.money import exponent, parse_amount
from shared.web.models import CURRENCIES, clean_line

from matching.domain.exchange import rate_of
from matching.domain.remittances import DEDUCTIONS, RemittanceLine

MAX_BYTES = 8 * 1024 * 1024
MAX_EDIFACT = 3 * 1024 * 1024
"""Of REMADV: some 300 characters for each line of the longest list. The library reads some 300,000 a second."""
MAX_UNPACKED = 64 * 1024 * 1024
MOST = 10_000
"""Lines of one list."""
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_COLUMNS = ("document_number", "gross", "deduction", "deduction_reason", "net", "item_amount", "item_currency")
_TOTALS = ("12", "139", "128")
_REFERENCES = ("PQ", "TIN", "CK")
"""RFF qualifiers of the payment: its reference, a transaction's, a cheque's number."""
_CREDIT_NOTES = {"81", "83", "261", "262", "296", "308", "381", "396", "420", "458", "532"}
"""Codes of UNTDID 1001 for credit notes."""
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}[.,][0-9]{3}")
_SHOWN_DIGITS = 15
"""Significant digits that spreadsheets show of a number."""
_SHOWN, _NUMBER_MAX = 40, 255
"""Characters: of a cell in an error, of a document's number at most."""


class RemittanceError(ValueError):
    """A file that is no readable remittance list. The text says what and where."""


@dataclass(slots=True)
class Read:
    """What a file says: its lines, where in it each of them stands, and, where it says so, its currency, total (minor units), reference
    and number.

    `rate`: units of `rate_currency`, which its documents are in, for one of its own.
    """

    lines: list[RemittanceLine]
    places: list[str]
    currency: str
    total_minor: int | None = None
    reference: str | None = None
    document_number: str | None = None
    rate: Decimal | None = None
    rate_currency: str | None = None


def read(data: bytes, media_type: str, currency: str | None) -> Read:
    """The list in a file of a media type. Raises RemittanceError."""
    if len(data) > MAX_BYTES:
        raise RemittanceError(f"the file is larger than {MAX_BYTES} bytes")
    if media_type in {"application/edifact", "application/edi-consent"}:
        return _remadv(data, currency)
    if currency is None:
        raise RemittanceError("the currency of a CSV or XLSX file is named beside it")
    rows = _xlsx(data) if media_type == XLSX_TYPE else _csv(data)
    lines = list(_lines(rows, currency))
    return Read([line for _, line in lines], [where for where, _ in lines], currency)


def _shown(text: str) -> str:
    """A cell as an error shows it: its beginning, in quotes, without what would not be seen."""
    flat = "".join(char if char.isprintable() else " " for char in text[: _SHOWN + 1])
    return f"'{flat}'" if len(text) <= _SHOWN else f"'{flat[:_SHOWN]}...'"


def _number(text: str, where: str) -> str | None:
    """A document's number, as our own API takes it too."""
    try:
        number = str(clean_line(text))
    except ValueError as error:
        raise RemittanceError(f"{where} {_shown(text)}: {error}") from None
    if len(number) > _NUMBER_MAX:
        raise RemittanceError(f"{where} {_shown(text)}: has more than {_NUMBER_MAX} characters")
    return number or None


def _csv(data: bytes) -> Iterator[Sequence[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RemittanceError("a CSV file is UTF-8") from None
    if "\0" in text:
        raise RemittanceError("the file is not text")
    lines = io.StringIO(text, newline=None)  # of whichever system
    head = lines.readline()
    lines.seek(0)
    rows = csv.reader(lines, delimiter=max(";\t,", key=head.count), strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise RemittanceError(f"line {rows.line_num}: not readable as CSV: {error}") from None


def _xlsx(data: bytes) -> Iterator[Sequence[str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise RemittanceError("the file is too large when unpacked")  # noqa: TRY301 - told as it is, below
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        for row in sheet.iter_rows(values_only=True):
            yield [_cell(value) for value in row]
    except RemittanceError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises whatever a broken archive or sheet makes it meet
        raise RemittanceError(f"not readable as XLSX: {type(error).__name__}") from None


def _cell(value: Any) -> str:
    """A cell as text. A number is a double in XLSX, and that of a formula is off in its last digits: what the sheet shows is meant."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{Decimal(f'{value:.{_SHOWN_DIGITS}g}').normalize():f}" if not value.is_integer() else str(int(value))
    return str(value)


def _lines(rows: Iterable[Sequence[str]], currency: str) -> Iterator[tuple[str, RemittanceLine]]:
    header: dict[str, int] | None = None
    count = width = total = 0
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if header is None:
            header, width = _header(cells, f"row {number}"), len(cells)
            continue
        if beyond := next(filter(None, cells[width:]), None):
            why = "more cells than the header has columns (an amount with a comma may lack its quotes)"
            raise RemittanceError(f"row {number}: {why}, the first of them {_shown(beyond)}")
        count += 1
        if count > MOST:
            raise RemittanceError(f"more than {MOST} lines")
        line = _line({name: cells[at] if at < len(cells) else "" for name, at in header.items()}, currency, f"row {number}")
        if count > 1 and line.net_minor == total and not any(char.isdecimal() for char in line.document_number or ""):
            named = _shown(line.document_number or "")
            raise RemittanceError(
                f"row {number}, document_number {named}: this is the total of the rows above, and no document: leave it out"
            )
        total += line.net_minor
        yield f"row {number}", line
    if header is None:
        raise RemittanceError("the file is empty")
    if not count:
        raise RemittanceError("the file has a header and no line")


def _header(cells: Sequence[str], where: str) -> dict[str, int]:
    """Where each column is."""
    names = [cell.lower().replace(" ", "_") for cell in cells]
    header = {name: names.index(name) for name in _COLUMNS if name in names}
    if "document_number" not in header or not {"gross", "net"} & set(header):
        raise RemittanceError(f"{where}: the header needs document_number and gross or net, and is {_shown(', '.join(cells))}")
    if twice := next((name for name in header if names.count(name) > 1), None):
        raise RemittanceError(f"{where}: the header has {twice} twice")
    return header


def _line(cells: dict[str, str], currency: str, where: str) -> RemittanceLine:
    def amount(name: str, currency: str = currency) -> int | None:
        text = cells.get(name, "")
        if not text:
            return None
        try:
            found = parse_amount(text.replace(",", ".") if "." not in text else text, currency)
        except ValueError as error:
            raise RemittanceError(f"{where}, {name} {_shown(text)}: {error}") from None
        if _THOUSANDS.fullmatch(text) and exponent(currency) != 3:  # noqa: PLR2004 - as many decimals as a thousand has zeros
            why = "may be a thousand or a thousandth of it: write no separator of thousands"
            raise RemittanceError(f"{where}, {name} {_shown(text)}: {why}")
        return found

    gross, deduction, net = amount("gross"), amount("deduction") or 0, amount("net")
    if gross is None and net is None:
        raise RemittanceError(f"{where}: neither gross nor net is given")
    gross = (net or 0) + deduction if gross is None else gross
    net = gross - deduction if net is None else net
    reason = cells.get("deduction_reason", "").lower() or None
    if reason not in {None, *DEDUCTIONS}:
        raise RemittanceError(f"{where}, deduction_reason {_shown(reason or '')}: is none of {', '.join(DEDUCTIONS)}")
    said, other = cells.get("item_amount", ""), cells.get("item_currency", "").upper()
    if bool(said) != bool(other):
        raise RemittanceError(f"{where}: item_amount {_shown(said)} and item_currency {_shown(other)} come together")
    if other and other not in CURRENCIES:
        raise RemittanceError(f"{where}, item_currency {_shown(other)}: is no current ISO 4217 currency code")
    settled = amount("item_amount", other) if other else None
    number = _number(cells["document_number"], f"{where}, document_number")
    return RemittanceLine(number, None, gross, deduction, reason, net, settled, other or None)


class _Plain(SegmentFactory):
    """Segments as they stand: the library knows no directory of REMADV to check them against, and warns of that."""

    @staticmethod
    def create_segment(name: str, *elements: Any, **_: Any) -> Segment:
        return Segment(name, *elements)


# --- EDIFACT ------------------------------------------------------------------------------------------------------
def _remadv(data: bytes, currency: str | None) -> Read:
    if len(data) > MAX_EDIFACT:
        raise RemittanceError(f"an EDIFACT file has at most {MAX_EDIFACT} bytes, this one {len(data)}")
    segments, documents = [], 0
    try:
        text = data.decode("latin-1").replace("\r", "").replace("\n", "")
        for segment in Parser(factory=_Plain()).parse(text):
            documents += segment.tag == "DOC"
            if documents > MOST:
                raise RemittanceError(f"more than {MOST} lines")  # noqa: TRY301 - told as it is, below
            segments.append((segment.tag, segment.elements))
    except RemittanceError:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises whatever a broken interchange makes it meet
        raise RemittanceError(f"not readable as EDIFACT: {type(error).__name__}") from None
    kinds = [elements for tag, elements in segments if tag == "UNH"]
    if len(kinds) != 1 or _part(kinds[0], 1, 0) != "REMADV":
        raise RemittanceError("the interchange has not just one message REMADV")
    first = next((at for at, (tag, _) in enumerate(segments) if tag == "DOC"), len(segments))
    last = next((at for at, (tag, _) in enumerate(segments) if tag == "UNS"), len(segments))
    heading, details, summary = segments[:first], segments[first:last], segments[last:]
    stated = next((elements for tag, elements in heading if tag == "CUX"), None)
    if not (currency := _part(stated, 0, 1) if stated else currency or ""):
        raise RemittanceError("the message names no currency (CUX)")
    if currency not in CURRENCIES:
        raise RemittanceError(f"CUX {_shown(currency)}: is no current ISO 4217 currency code")
    rate, rate_currency = _rate(stated or (), currency)
    number = _number(next((_part(elements, 1, 0) for tag, elements in heading if tag == "BGM"), ""), "BGM")
    references = [
        _number(_part(elements, 0, 1), "RFF") for tag, elements in heading if tag == "RFF" and _part(elements, 0, 0) in _REFERENCES
    ]
    totals = [_money(elements, currency, "summary") for tag, elements in summary if tag == "MOA" and _part(elements, 0, 0) in _TOTALS]
    lines = list(_documents(details, currency))
    if not lines:
        raise RemittanceError("the message has no DOC segment")
    places = [f"document {at}" for at in range(1, len(lines) + 1)]
    return Read(lines, places, currency, next(iter(totals), None), next(iter(references), None) or number, number, rate, rate_currency)


def _rate(elements: Sequence[Any], currency: str) -> tuple[Decimal | None, str | None]:
    """The rate to the documents' currency, which CUX calls the target, and that currency; nothing where it names no other."""
    target = _part(elements, 1, 1)
    if target in {"", currency} or not (text := _part(elements, 2, 0)):
        return None, None
    try:
        parse_amount("0", target)
        return rate_of(text.replace(",", ".")), target
    except ValueError as error:
        raise RemittanceError(f"the exchange rate (CUX) {_shown(text)} to {_shown(target)} cannot be read: {error}") from None


def _documents(details: Sequence[tuple[str, Sequence[Any]]], currency: str) -> Iterator[RemittanceLine]:
    documents: list[tuple[str, dict[str, tuple[int, str]]]] = []
    credit = False
    for tag, elements in details:
        if tag == "DOC":
            documents.append((_part(elements, 1, 0), {}))
            credit = _part(elements, 0, 0) in _CREDIT_NOTES
        elif tag == "MOA":
            own = _part(elements, 0, 2) or currency
            amount = _money(elements, own, f"document {len(documents)}")
            amount = -abs(amount) if credit else amount
            documents[-1][1].setdefault(_part(elements, 0, 0), (amount, own))
    for at, (number, amounts) in enumerate(documents, 1):
        yield _document(number, amounts, currency, at)


def _money(elements: Sequence[Any], currency: str, where: str) -> int:
    text = _part(elements, 0, 1)
    try:
        return parse_amount(text.replace(",", "."), currency)
    except ValueError as error:
        raise RemittanceError(f"{where}, MOA {_shown(_part(elements, 0, 0) + ':' + text)}: {error}") from None


def _document(number: str, amounts: dict[str, tuple[int, str]], currency: str, at: int) -> RemittanceLine:
    """A line. An amount due in the document's own currency is what the amount remitted settles of it."""
    number = _number(number, f"document {at}, DOC") or ""
    if "12" not in amounts:
        raise RemittanceError(f"document {at}: the amount remitted (MOA+12) is missing")
    net, paid_in = amounts["12"]
    if paid_in != currency:
        raise RemittanceError(f"document {at}: the amount remitted (MOA+12) is in {_shown(paid_in)}, not in the currency of payment")
    due, due_in = amounts.get("9", (None, currency))
    if due is not None and due_in != currency:
        if "52" in amounts:
            raise RemittanceError(f"document {at}: a discount (MOA+52) on a document in another currency")
        return RemittanceLine(number or None, None, net, 0, None, net, due, due_in)
    discount, discount_in = amounts.get("52", (0, currency))
    if discount_in != currency:
        raise RemittanceError(f"document {at}: the discount (MOA+52) is in {_shown(discount_in)}, not in the currency of payment")
    gross = net + discount if due is None else due
    deduction = gross - net
    reason = None if not deduction else "discount" if "52" in amounts and deduction == discount else "other"
    return RemittanceLine(number or None, None, gross, deduction, reason, net)


def _part(elements: Sequence[Any], at: int, within: int) -> str:
    """A component of a segment, which the library gives as a text where it stands alone."""
    if at >= len(elements):
        return ""
    element = elements[at]
    if isinstance(element, str):
        return element if within == 0 else ""
    return str(element[within]) if within < len(element) else ""
