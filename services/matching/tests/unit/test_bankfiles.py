"""Every format, on one small day of our own: what is read, in whatever wrapping; and that nothing else ever happens but a clear refusal."""

import contextlib
import io
import json
import re

import bank_samples as samples
import pytest
from bank_samples import everything
from hypothesis import given, settings
from hypothesis import strategies as st
from matching.bankfiles import BankFileError, NotAStatementError, detect
from matching.cli import SERVICE, TOOLS
from shared.cli import main

FORMATS = sorted(samples.ALL)
WRAPPINGS = {
    "as it is": lambda text: text.encode(),
    "with a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "line ends of Unix": lambda text: text.replace("\r\n", "\n").encode(),
    "line ends of DOS": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n").encode(),
    "line ends of old Macs": lambda text: text.replace("\r\n", "\n").replace("\n", "\r").encode(),
    "in UTF-16": lambda text: text.replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16"),
    "in UTF-16 without a mark": lambda text: text.replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16-le"),
    "blank lines behind": lambda text: text.encode() + b"\n\n\n",
    "the end of file of DOS": lambda text: text.encode() + (b"" if text.startswith("<?xml") else b"\x1a"),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_one_day_is_read_alike_from_every_format_and_wrapping(name, wrapping):
    statements, found = everything(WRAPPINGS[wrapping](samples.ALL[name]()))
    (statement,) = statements
    assert (statement.account, statement.verdict()) == (samples.ACCOUNTS[name], None)
    assert [(one.signed_minor, one.currency, one.day.isoformat(), one.status) for one in found] == [
        (10_000, "EUR", "2026-03-02", "booked"),
        (5_050, "EUR", "2026-03-02", "booked"),
        (-500, "EUR", "2026-03-02", "booked"),
    ]
    assert [one.bank_reference for one in found] == ["BANK-1", "BANK-2", "BANK-3"]
    assert "F-1001" in " ".join(found[0].remittance)
    assert "F-1002" in " ".join(found[1].remittance)
    assert [one.kind for one in found] == ["payment", "payment", "fee"]
    if name != "ofx":  # it has no end-to-end reference
        assert [one.end_to_end_id for one in found[:2]] == ["E2E-1", "E2E-2"]
    if name not in {"mt942", "ofx"}:
        assert statement.balanced is True


@pytest.mark.parametrize("name", ["coda", "cfonb120", "aeb43"])
def test_records_of_a_fixed_width_need_no_line_ends(name):
    text = samples.ALL[name]()
    assert everything(text.encode())[1] == everything(text.replace("\n", "").encode())[1]


def test_a_namespace_prefix_changes_nothing():
    plain = samples.camt()
    prefixed = plain.replace("<", "<b:").replace("<b:/", "</b:").replace("<b:?xml", "<?xml").replace("xmlns=", "xmlns:b=")
    assert everything(prefixed.encode()) == everything(plain.encode())


@pytest.mark.parametrize("name", FORMATS)
def test_an_amount_that_was_tampered_with_is_found_out(name):
    if name == "ofx":
        pytest.skip("OFX has neither an opening balance nor sums: nothing in the file proves an amount")
    text = samples.ALL[name]()
    tampered = {
        "camt": text.replace(">50.50<", ">50.51<"),
        "mt940": text.replace("CR50,5N", "CR50,6N"),
        "mt942": text.replace("CR50,5N", "CR50,6N"),
        "coda": text.replace("000000000050500020326", "000000000050510020326"),
        "cfonb120": text.replace("0000000000505{", "0000000000505A"),
        "bai2": text.replace("16,142,5050", "16,142,5051"),
        "aeb43": text.replace("00000000005050", "00000000005051", 1),
    }[name]
    assert tampered != text
    assert [one.verdict() is not None for one in everything(tampered.encode())[0]] == [True]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (
            b'<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.001.001.03"><CstmrCdtTrfInitn/></Document>',
            "pain.001",
        ),
        (b'<d:Document xmlns:d="urn:iso:std:iso:20022:tech:xsd:pain.002.001.03"><d:CstmrPmtStsRpt/></d:Document>', "pain.002"),
        (b"<Document><FIToFIPmtCxlReq/></Document>", "camt.056"),
        (b"{1:F01BANKBEBBAXXX0000000000}{2:I103BANKDEFFXXXXN}{4:\r\n:20:PAY1\r\n:32A:260302EUR1,\r\n-}", "MT103"),
        (f"{'3100000120020326E    123451234512345678901':<240}\n{'34000002':<240}\n".encode(), "CFONB240"),
    ],
)
def test_what_is_known_but_no_statement_is_named(data, kind):
    with pytest.raises(NotAStatementError) as refused:
        everything(data)
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"date;amount\n2026-03-02;1,00\n", b"%PDF-1.7", b"PK\x03\x04", b"\x00" * 300, b"<html><body/></html>"]
)
def test_what_is_no_bank_file_is_refused(data):
    with pytest.raises(BankFileError):
        detect(io.BytesIO(data))


mutation = st.tuples(st.sampled_from(["cut", "drop", "double", "byte"]), st.integers(0, 10_000), st.integers(0, 255))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(mutation, min_size=1, max_size=4))
def test_a_broken_file_is_read_flagged_or_refused_and_nothing_else(name, mutations):
    data = samples.ALL[name]().encode()
    for how, where, byte in mutations:
        at = where % max(len(data), 1)
        lines = data.split(b"\n")
        line = where % len(lines)
        if how == "cut":
            data = data[:at]
        elif how == "byte":
            data = data[:at] + bytes([byte]) + data[at + 1 :]
        elif how == "drop":
            data = b"\n".join(lines[:line] + lines[line + 1 :])
        else:
            data = b"\n".join([*lines[: line + 1], *lines[line:]])
    try:
        statements, found = everything(data)
    except BankFileError:
        return
    for statement in statements:
        verdict = statement.verdict()
        assert verdict is None or all(verdict)
        if verdict is None and statement.balanced is not None:
            assert statement.opening_minor + statement.booked_minor == statement.closing_minor
    assert all(one.amount_minor >= 0 and len(one.currency) == 3 for one in found)


@pytest.mark.parametrize("name", FORMATS)
def test_a_superscript_is_no_digit(name):
    """Python's `isdigit` takes it for one, `int` does not."""
    data = samples.ALL[name]().encode()
    for at in [at for at, byte in enumerate(data) if chr(byte).isdecimal()][::5]:
        with contextlib.suppress(BankFileError):
            everything(data[:at] + b"\xb2" + data[at + 1 :])


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_ends_too_early_is_never_taken_for_a_whole_one(name):
    if name == "mt942":
        pytest.skip("an interim report ends where the bank ends it; its sums are optional")
    data = samples.ALL[name]().encode()
    for end in range(1, int(len(data) * 0.8), 7):
        try:
            statements, _ = everything(data[:end])
        except BankFileError:
            continue
        assert all(one.verdict() is not None for one in statements), end


KEYS = [
    "account", "status", "booking_date", "value_date", "amount_minor", "currency", "instructed_amount", "charges", "direction", "reversal",
    "bank_reference", "transaction_code", "batch_id", "end_to_end_id", "structured_reference", "remittance", "counterparty_name",
    "counterparty_iban", "return_reason",
]  # fmt: skip


def run(capsys, *arguments):
    status = main(SERVICE, ["parse", *map(str, arguments)], tools=TOOLS)
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("name", FORMATS)
def test_the_command_line_prints_transactions_and_a_summary_per_file(name, tmp_path, capsys):
    path = tmp_path / "a.bin"
    path.write_text(samples.ALL[name]())
    status, lines = run(capsys, path, path)
    assert (status, len(lines)) == (0, 8)
    for key in KEYS:
        assert all(key in line for line in lines[:3]), key
    assert [(line["amount_minor"], line["direction"]) for line in lines[:3]] == [(10_000, "credit"), (5_050, "credit"), (500, "debit")]
    summary = lines[3]["summary"]
    assert {key: summary[key] for key in ("statements", "entries", "transactions", "credit_minor", "debit_minor", "verdict")} == {
        "statements": 1,
        "entries": 3,
        "transactions": 3,
        "credit_minor": 15_050,
        "debit_minor": 500,
        "verdict": "ok",
    }


def test_the_command_line_gives_a_verdict_on_whatever_it_is_handed(tmp_path, capsys):
    files = {
        "rejected": samples.mt940().replace("1145,50", "1145,51"),
        "unreadable": "nothing",
        "not_a_statement": "<D><CstmrCdtTrfInitn/></D>",
    }
    for verdict, text in files.items():
        (tmp_path / verdict).write_text(text)
    status, lines = run(capsys, *(tmp_path / verdict for verdict in files))
    summaries = [line["summary"] for line in lines if "summary" in line]
    assert (status, [summary["verdict"] for summary in summaries]) == (0, list(files))
    assert all(summary["findings"] for summary in summaries)
    status, lines = run(capsys, tmp_path / "none")
    assert (status, lines[0]["summary"]["verdict"]) == (2, "unreadable")


def test_the_command_line_tells_of_each_entry_that_it_cannot_read(tmp_path, capsys):
    (tmp_path / "a.sta").write_text(samples.mt940().replace("EUR", ""))
    (tmp_path / "b.xml").write_text(samples.camt().replace('<Ntry><Amt Ccy="EUR">100.00</Amt>', "<Ntry>"))
    status, lines = run(capsys, tmp_path / "a.sta", tmp_path / "b.xml")
    without, other = (line["summary"] for line in lines if "summary" in line)
    assert (status, without["verdict"], without["entries"], without["transactions"]) == (0, "rejected", 3, 0)
    first, *each = [one["detail"] for one in without["findings"]]
    assert first.startswith("a balance without a currency, on an account of which none is known")
    said = ":61:2603020302CR100,NTRFE2E-1//BANK-1"
    assert each[0] == f"entry 1: nothing says which currency the statement is in: {said[4:]!r}"
    assert [one.partition(":")[0] for one in each] == ["entry 1", "entry 2", "entry 3"]
    assert [one["detail"] for one in other["findings"]] == ["entry 1: BkToCstmrStmt/Stmt/Ntry: no amount"]  # once
    assert other["transactions"] == 2


def mt940_of(line: str, notes: str = "") -> bytes:
    return (
        f":20:A\r\n:25:DE89370400440532013000\r\n:28C:1\r\n:60F:C260301EUR0,\r\n{line}\r\n{notes}:62F:C260302EUR1234,56\r\n-\r\n".encode()
    )


@pytest.mark.parametrize(
    "line",
    [
        ":61:2603020302C1234,56NTRFNONREF",
        ":61:260302C1234,56NTRFNONREF",
        ":61:2603020302CR1.234,56NTRFNONREF",
        ":61:2603020302C 1234.56NTRFNONREF//",
        ":61:2603020302RD1234,56NTRFNONREF",
        ":61:2603020302CR0000001234,56S103NONREF//NONREF\r\n/OCMT/EUR1234,56/",
    ],
)
def test_one_credit_is_read_however_mt940_writes_it(line):
    (statement,), (one,) = everything(mt940_of(line))
    assert statement.verdict() is None
    assert (one.signed_minor, one.bank_reference, one.end_to_end_id) == (123_456, None, None)


@pytest.mark.parametrize("day", ["0001-01-01", "1969-12-31", "2100-01-01", "9999-12-31"])
@pytest.mark.parametrize("where", ["BookgDt", "Bal"])
def test_a_day_that_no_bank_books_on_makes_a_statement_wrong(day, where):
    before, after = samples.camt().rsplit("<Dt><Dt>2026-03-02" if where == "Bal" else "<BookgDt><Dt>2026-03-02", 1)
    (statement,), found = everything(f"{before}<{'Dt' if where == 'Bal' else 'BookgDt'}><Dt>{day}{after}".encode())
    reason, detail = statement.verdict()
    assert (reason, day in detail, len(found)) == ("day_absurd", True, 3)


@pytest.mark.parametrize(("day", "read"), [("9999-12-31", None), ("0001-01-01", None), ("2025-03-01", "2025-03-01"), ("2025-02-28", None)])
def test_a_value_date_that_no_bank_gives_is_left_out_and_told(day, read, tmp_path, capsys):
    dated = f"<BookgDt><Dt>2026-03-02</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
    (tmp_path / "a.xml").write_text(samples.camt().replace("<BookgDt><Dt>2026-03-02</Dt></BookgDt>", dated, 1))
    _, lines = run(capsys, tmp_path / "a.xml")
    assert [line["value_date"] for line in lines[:-1]] == [read, None, None]
    summary = lines[-1]["summary"]
    assert (summary["verdict"], len(summary["remarks"])) == ("ok", read is None)
    assert all(day in one for one in summary["remarks"])


@pytest.mark.parametrize("amount", ["1.234.56", "1,234.56", "1.23,4,56", "12.34,56", "1234,567"])
def test_an_amount_of_mt940_that_may_mean_several_things_is_refused(amount):
    (statement,), found = everything(mt940_of(f":61:2603020302C{amount}NTRFNONREF"))
    assert (statement.verdict()[0], found) == ("entry_differs", [])


def test_a_german_reference_that_points_into_the_text_is_none():
    notes = ":86:166?00GUTSCHRIFT?20EREF+RE-2026-7?21SVWZ+Rechnung 7?32MUELLER GMBH?33 UND SOEHNE?65ZUSATZ?70FUER MEIER KG\r\n"
    _, (one,) = everything(mt940_of(":61:2603020302C1234,56NTRFKREF+//B-1", notes))
    assert (one.end_to_end_id, one.bank_reference, one.counterparty_name) == ("RE-2026-7", "B-1", "MUELLER GMBH UND SOEHNE")
    assert one.remittance == ["Rechnung 7", "ZUSATZ"]


def test_braces_that_a_french_character_set_turned_into_letters_are_signs_still():
    text = samples.cfonb120()
    french = text.replace("{", "\u00e9").replace("}", "\u00e8")
    assert everything(french.encode("cp1252")) == everything(french.encode()) == everything(text.encode())


def test_what_no_german_reference_has_room_for_is_text():
    notes = ":86:159?00RETOURE?20EREF+TFNR 40001 00005?21MTLG:Grund nicht spezifizi?22ert Reject aus Auftrag?23CRED+DE98ZZZ09999999999\r\n"
    _, (one,) = everything(mt940_of(":61:2603020302C1234,56NTRFNONREF", notes))
    assert (one.end_to_end_id, one.remittance) == ("TFNR 40001 00005", ["MTLG:Grund nicht spezifiziert Reject aus Auftrag"])


def test_a_german_text_that_fills_its_ten_fields_goes_on_behind_the_names():
    parts = "".join(f"?2{n}{'SVWZ+' if n == 0 else ''}teil{n} " for n in range(10))
    _, (one,) = everything(mt940_of(":61:2603020302C1234,56NTRFNONREF", f":86:166?00X{parts}IBAN: DE00?32MUELLER?60 37040044?61 ENDE\r\n"))
    assert one.remittance == ["teil0 teil1 teil2 teil3 teil4 teil5 teil6 teil7 teil8 teil9 IBAN: DE00 37040044 ENDE"]
    assert one.counterparty_name == "MUELLER"


def test_a_dutch_text_cut_in_pieces_is_put_together():
    first = "/TRTP/SEPA OVERBOEKING/IBAN/NL91ABNA0417164300/NAME/Bakkerij"
    notes = f":86:{first} \r\n".replace(" \r", "\r") + "en Jansen/REMI/factuur 2026-1/EREF/E-77\r\n"
    _, (one,) = everything(mt940_of(":61:2603020302C1234,56NTRFNONREF", notes))
    assert len(first) == 60
    assert (one.counterparty_name, one.counterparty_iban, one.end_to_end_id) == ("Bakkerijen Jansen", "NL91ABNA0417164300", "E-77")


@pytest.mark.parametrize(
    ("data", "read"),
    [
        (
            ":20:A\n:25:BE71096123456769\n:28:8/1\n:60F:C260301EUR100,\n:90D:1EUR5,\n:90C:2EUR150,5\n:62F:C260302EUR245,5\n-\n",
            True,
        ),  # MT941
        (":20:A\n:25:BE71096123456769\n:28C:8/1\n:34F:EUR0,\n:13D:2603021200+0100\n:90D:1EUR5,\n:90C:2EUR150,5\n-\n", False),  # MT942
        (":20:A\n:25:BE71096123456769\n:28C:8/1\n:60F:C260301EUR100,\n:62F:C260302EUR245,5\n-\n", False),  # MT940
        (samples.camt("053").replace("053", "052").replace("BkToCstmrStmt", "BkToCstmrAcctRpt").replace("Stmt>", "Rpt>"), True),
        (samples.camt("053"), False),
    ],
)
def test_a_report_of_balances_and_sums_alone_needs_no_entries_and_a_statement_does(data, read):
    (statement,), found = everything(re.sub("<Ntry>.*</Ntry>", "", data).encode())
    assert (statement.verdict() is None, found) == (read, [])
