"""Remittance lists: what adds up, which payment is meant, and files of every form that say the same."""

import contextlib
import io
import re
import zipfile
from decimal import Decimal
from uuid import UUID

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching.domain.remittances import Fit, RemittanceLine, Spoken, pick, problem
from matching.remittance_files import MAX_EDIFACT, MOST, XLSX_TYPE, Read, RemittanceError, read

LINES = [
    RemittanceLine("FA-2026-001", None, 100_000, 2_000, "discount", 98_000),
    RemittanceLine("FA-2026-002", None, 50_050, 0, None, 50_050),
    RemittanceLine("AV-7", None, -10_000, 0, None, -10_000),
]
TOTAL = 138_050
REMADV = (
    "UNA:+.? '\nUNB+UNOC:3+PAYER:14+SELLER:14+260302:0900+1'\nUNH+1+REMADV:D:96A:UN:EAN002'\nBGM+481+REM-4711+9'\n"
    "DTM+137:20260302:102'\nRFF+PQ:TRX-99'\nNAD+PR+4012345000009::9'\nCUX+2:EUR:11'\n"
    "DOC+380+FA-2026-001'\nMOA+9:1000.00:EUR'\nMOA+12:980.00'\nMOA+52:20.00'\nDOC+380+FA-2026-002'\nMOA+9:500.50:EUR'\nMOA+12:500.50'\n"
    "DOC+381+AV-7'\nMOA+9:-100.00:EUR'\nMOA+12:-100.00'\nUNS+S'\nMOA+12:1380.50'\nUNT+17+1'\nUNZ+1+1'\n"
)


def csv(separator=";", *, comma=True):
    rows = [
        ["document_number", "gross", "deduction", "deduction_reason", "net"],
        ["FA-2026-001", "1000.00", "20.00", "discount", "980.00"],
        ["FA-2026-002", "500.50", "", "", "500.50"],
        ["AV-7", "-100", "", "", "-100.00"],
    ]
    return "\n".join(separator.join(cell.replace(".", ",") if comma else cell for cell in row) for row in rows).encode("utf-8-sig")


def xlsx():
    book = openpyxl.Workbook()
    for row in [
        ["document_number", "gross", "deduction", "deduction_reason", "net"],
        ["FA-2026-001", 1000, 20, "discount", 980],
        ["FA-2026-002", 500.5, None, None, 500.5],
        ["AV-7", -100, None, None, -100],
    ]:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "media"),
    [(csv(), "text/csv"), (csv(",", comma=False), "text/csv"), (xlsx(), XLSX_TYPE), (REMADV.encode(), "application/edifact")],
    ids=["csv-comma", "csv-point", "xlsx", "remadv"],
)
def test_every_form_says_the_same(data, media):
    found = read(data, media, "EUR")
    assert [(x.document_number, x.gross_minor, x.deduction_minor, x.deduction_reason, x.net_minor) for x in found.lines] == [
        (x.document_number, x.gross_minor, x.deduction_minor, x.deduction_reason, x.net_minor) for x in LINES
    ]
    assert problem(found.lines, TOTAL) is None
    if media == "application/edifact":
        assert found == Read(found.lines, ["document 1", "document 2", "document 3"], "EUR", TOTAL, "TRX-99", "REM-4711")
    else:
        assert found.places == ["row 2", "row 3", "row 4"]


@pytest.mark.parametrize(
    ("data", "media"),
    [
        (b"", "text/csv"),
        (b"a;b\n1;2", "text/csv"),
        (b"document_number;net\nF-1;1.234,50", "text/csv"),
        (b"document_number;net\nF-1;1e3", "text/csv"),
        (b"document_number;net\nF-1;0.001", "text/csv"),
        (b"document_number;net\nF-1;\xff", "text/csv"),
        (b"document_number;net\n", "text/csv"),
        (b"PK\x03\x04nonsense", XLSX_TYPE),
        (b"UNB+", "application/edifact"),
        (REMADV.replace("REMADV:D", "INVOIC:D").encode(), "application/edifact"),
        (REMADV.replace("MOA+12:980.00'", "").encode(), "application/edifact"),
        (REMADV.replace("MOA+12:980.00", "MOA+12:98X").encode(), "application/edifact"),
    ],
)
def test_what_cannot_be_read_is_said(data, media):
    with pytest.raises(RemittanceError):
        read(data, media, "EUR")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('F-1;"1,000"', "row 2, net '1,000': may be a thousand"),
        ("F-1;1.000", "row 2, net '1.000': may be a thousand"),
        ("F-1;-1,000", "row 2, net '-1,000': may be a thousand"),
        ("F-1;1000;03", "row 2: more cells than the header"),
        ("F-1;10,00\nF-2;20,00\nTotal;30,00", "row 4, document_number 'Total': this is the total"),
    ],
)
def test_what_may_be_read_in_two_ways_is_not_read(row, why):
    with pytest.raises(RemittanceError, match=why):
        read(f"document_number;net\n{row}\n".encode(), "text/csv", "EUR")


@pytest.mark.parametrize(
    ("data", "media", "why"),
    [
        ("document_number;net\nF-1;10,00\nF-2;1 234,50", "text/csv", "row 3, net '1 234,50': an amount is written as"),
        ("document_number;net\nF-1;" + "9" * 5_000, "text/csv", f"row 2, net '{'9' * 40}...': an amount is written as"),
        ("document_number;net\nF-1;1\x1b[2J", "text/csv", "row 2, net '1 [2J': an amount is written as"),
        ("document_number;net;deduction_reason\nF-1;1;gift", "text/csv", "row 2, deduction_reason 'gift': is none of discount, "),
        ("document_number;net\n\u202eF-1;1,00", "text/csv", "row 2, document_number ' F-1': character 0 is a control"),
        ("document_number;net\n" + "F" * 300 + ";1,00", "text/csv", f"row 2, document_number '{'F' * 40}...': has more than 255"),
        ('document_number;net\nF-1;1,00\n"F-2;1,00', "text/csv", "line 3: not readable as CSV"),
        ("number;amount\nF-1;1,00", "text/csv", "row 1: the header needs document_number and gross or net, and is 'number, amount'"),
        (REMADV.replace("MOA+12:980.00", "MOA+12:98X"), "application/edifact", "document 1, MOA '12:98X': an amount is written as"),
        (REMADV.replace("AV-7", "AV\0"), "application/edifact", "document 3, DOC 'AV ': character 2 is a control"),
        (REMADV.replace("TRX-99", "TRX\0"), "application/edifact", "RFF 'TRX ': character 3 is a control"),
        (REMADV.replace("CUX+2:EUR", "CUX+2:ZZZ"), "application/edifact", "CUX 'ZZZ': is no current ISO 4217 currency code"),
    ],
)
def test_an_error_says_where_it_is_and_what_stands_there(data, media, why):
    with pytest.raises(RemittanceError, match=re.escape(why)):
        read(data.encode(), media, "EUR")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_on_any_system(end):
    rows = ["document_number;net", "F-1;1,00", '"F-2";2,00', ""]
    assert [x.net_minor for x in read(end.join(rows).encode(), "text/csv", "EUR").lines] == [100, 200]


def test_a_column_is_there_once_and_three_decimals_are_read_where_the_currency_has_them():
    with pytest.raises(RemittanceError, match="row 1: the header has net twice"):
        read(b"document_number;net;net\nF-1;1,00;2,00\n", "text/csv", "EUR")
    assert [x.net_minor for x in read(b"document_number;net;\nF-1;1,000;\n", "text/csv", "KWD").lines] == [1_000]


def test_what_a_formula_comes_to_is_read_as_the_sheet_shows_it():
    book = openpyxl.Workbook()
    for row in (["document_number", "net"], ["F-1", 12_345.25]):
        book.active.append(row)
    stream, found = io.BytesIO(), io.BytesIO()
    book.save(stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(found, "w") as new:
        for name in old.namelist():  # as a spreadsheet stores what 3 * 4115.07 + 0.04 comes to
            new.writestr(name, old.read(name).replace(b"<v>12345.25</v>", b"<f>3*4115.07+0.04</f><v>12345.250000000002</v>"))
    assert [x.net_minor for x in read(found.getvalue(), XLSX_TYPE, "EUR").lines] == [1_234_525]


@pytest.mark.parametrize("una", ["UNA:+.? '", "UNA:+,? '"])
def test_a_remadv_may_have_decimal_commas_and_credit_notes_without_a_sign(una):
    told = REMADV.replace("UNA:+.? '", una).replace("MOA+9:-100", "MOA+9:100").replace("MOA+12:-100", "MOA+12:100")
    found = read(re.sub(r"(MOA\+\d+:\d+)\.", r"\1,", told).encode(), "application/edifact", None)
    assert [x.net_minor for x in found.lines] == [x.net_minor for x in LINES]
    assert found.total_minor == TOTAL
    assert problem(found.lines, TOTAL) is None


def test_what_a_remadv_says_of_currencies_is_read_as_eancom_has_it():
    """EANCOM, REMADV, CUX: payment currency multiplied by rate = target; a document may be in its own currency."""
    told = REMADV.replace("CUX+2:EUR:11'", "CUX+2:EUR:11+3:GBP:4+0.86'")
    found = read(told.encode(), "application/edifact", None)
    assert (found.currency, found.rate, found.rate_currency) == ("EUR", Decimal("0.86"), "GBP")
    told = REMADV.replace("MOA+9:1000.00:EUR'\nMOA+12:980.00'\nMOA+52:20.00'", "MOA+9:842.80:GBP'\nMOA+12:980.00'")
    first = read(told.encode(), "application/edifact", None).lines[0]
    assert (first.net_minor, first.deduction_minor, first.item_amount_minor, first.item_currency) == (98_000, 0, 84_280, "GBP")
    for wrong in ("MOA+12:980.00:GBP'", "MOA+9:1000.00:XYZ'\nMOA+12:980.00'"):
        with pytest.raises(RemittanceError):
            read(
                REMADV.replace("MOA+12:980.00'", wrong).replace("MOA+9:1000.00:EUR'\nMOA+9", "MOA+9").encode(), "application/edifact", None
            )
    for rate in ("0", "1e3", "-1", "x", "12345678901"):
        with pytest.raises(RemittanceError):
            read(REMADV.replace("CUX+2:EUR:11'", f"CUX+2:EUR:11+3:GBP:4+{rate}'").encode(), "application/edifact", None)


def test_a_line_of_csv_says_what_it_settles_of_an_item_in_another_currency():
    rows = "document_number;net;item_amount;item_currency\nF-1;1081,67;1000,00;eur\nF-2;25,00;;\nF-3;9,50;1500;JPY\n"
    lines = read(rows.encode(), "text/csv", "USD").lines
    assert [(x.net_minor, x.item_amount_minor, x.item_currency) for x in lines] == [
        (108_167, 100_000, "EUR"),
        (2_500, None, None),
        (950, 1_500, "JPY"),
    ]
    assert problem(lines, 111_617) is None
    for row in ("F-1;1,00;1,00;", "F-1;1,00;;EUR", "F-1;1,00;1,00;EURO", "F-1;1,00;0,001;EUR", "F-1;1,00;1,00;XYZ"):
        with pytest.raises(RemittanceError):
            read(f"document_number;net;item_amount;item_currency\n{row}\n".encode(), "text/csv", "USD")


@given(st.binary(max_size=200), st.sampled_from(["text/csv", XLSX_TYPE, "application/edifact"]))
def test_no_bytes_do_anything_else(data, media):
    with contextlib.suppress(RemittanceError):
        assert read(data, media, "EUR").lines


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (RemittanceLine("F-1", None, 100, 10, "discount", 80), "gross less deduction"),
        (RemittanceLine("F-1", None, 100, 10, None, 90), "needs a reason"),
        (RemittanceLine("F-1", None, 0, 0, None, 0), "no amount"),
        (RemittanceLine("F-1", None, 100, -10, "discount", 110), "sign"),
        (RemittanceLine("--", None, 100, 0, None, 100), "names neither"),
        (RemittanceLine("F-1", None, 100, 0, None, 100, 90, None), "has its currency"),
        (RemittanceLine("F-1", None, 100, 0, None, 100, -90, "USD"), "sign of its line"),
    ],
)
def test_what_does_not_add_up_is_named(line, why):
    at, said = problem([LINES[1], line], 1)
    assert (at, why in said) == (1, True)
    assert problem(LINES, TOTAL - 1) == (None, "the net amounts of the lines add up to 138050, not to the total of 138049 (minor units)")


def said(text="", *, payer=False):
    return Spoken(None, None, [text], payer)


ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("found", "choice"),
    [
        ({ONE: ("TRX99", said("our TRX-99"))}, ONE),
        ({ONE: ("TRX9", said("our TRX-99"))}, None),
        ({ONE: ("TRX99", said("TRX-99")), TWO: ("TRX99", said("TRX-99"))}, None),
        ({ONE: ("TRX99", said("TRX-99")), TWO: (None, said(payer=True))}, ONE),
        ({ONE: (None, said(payer=True))}, ONE),
        ({ONE: (None, said(payer=True)), TWO: ("X1234", said(payer=True))}, None),
        ({ONE: (None, said())}, None),
        ({}, None),
    ],
)
def test_two_that_fit_equally_well_decide_nothing(found, choice):
    assert pick({key: Fit(*each, "remittance", None, frozenset()) for key, each in found.items()}) == choice


_HEAD = REMADV.split("DOC", 1)[0]
_DOCUMENT = "DOC+380+FA-2026-0000001'MOA+9:1000.00:EUR'MOA+12:980.00'MOA+52:20.00'"


def test_a_remadv_has_as_many_documents_as_a_list_has_lines():
    found = read((_HEAD + _DOCUMENT * MOST + "UNS+S'UNT+1+1'UNZ+1+1'").encode(), "application/edifact", None)
    assert (len(found.lines), found.lines[-1].net_minor, found.places[-1]) == (MOST, 98_000, f"document {MOST}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (_HEAD + "DOC+380+1'" * (MOST + 1) + "broken", f"more than {MOST} lines"),  # what follows is not read any more
        (_HEAD + "DTM'" * (MAX_EDIFACT // 4), f"at most {MAX_EDIFACT} bytes, this one"),
    ],
)
def test_no_more_of_a_remadv_is_read_than_a_list_may_have(text, why):
    with pytest.raises(RemittanceError, match=why):
        read(text.encode(), "application/edifact", None)
