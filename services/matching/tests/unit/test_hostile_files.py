"""Files that no bank would send: what is endless is refused, what is long is read in a time that grows with its length."""

import io
import re
import time

import bank_samples as samples
import camtfile
import pytest
from matching.bankfiles import BankFileError, camt, read


def movements(data: bytes):
    return [one for _, entry in read(io.BytesIO(data)) if entry for one in entry.transactions]


def coda_movement(continuation: str, times: int) -> bytes:
    """The sample with a record behind its first movement, so many times."""
    text = samples.coda()
    at = text.index("\n22") + 1
    return (text[:at] + (f"{continuation:<126} 0\n" * times) + text[at:]).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (samples.mt940().replace(":86:", ":86:" + "\n".join(["/REMI/a" * 8_000] * 3), 1).encode(), "more than 50,000 characters"),
        (samples.mt940().replace(":86:", ":86:a\n:86:b\n" * 20_000, 1).encode(), "more than 50,000 characters"),
        (samples.mt940().replace(":86:", ":86:" + "a\n" * 300, 1).encode(), "more than 200 lines"),
        (coda_movement("2200010000" + "x" * 53, 500), "more text than any has"),
        (coda_movement("3200010001" + "x" * 53, 20_000), "more text than any has"),
        (samples.bai2().replace("88,F-1002\n", "88,F-1002\n" * 5_000).encode(), "more than 20,000 characters"),
    ],
)
def test_a_movement_with_more_text_than_any_bank_has_is_refused(data, why):
    with pytest.raises(BankFileError, match=why):
        movements(data)


@pytest.mark.parametrize(
    ("found", "replaced", "why"),
    [
        (b"</Document>", b"", "Premature end of data in tag Document"),
        (b"<RmtInf>", b"<RmtInf>&b;", "Entity 'b' not defined"),
        (b"<RmtInf>", b"<RmtInf>\0", "Char 0x0 out of allowed range"),
        (b"<RmtInf>", b"<RmtInf>" + b"<a>" * 300, "Excessive depth"),
    ],
)
def test_what_is_wrong_with_xml_is_said(found, replaced, why):
    data = camtfile.statement("FR7630006000011234567890189", "0.00", "1.00", camtfile.entry("1.00"))
    with pytest.raises(BankFileError, match=rf"not well-formed XML \(line 1\): .*{why}[^,]*$"):
        movements(data.replace(found, replaced, 1))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<Document><BkToCstmrStmt/></Document>" * 10_002, "more than 10000 XML documents"),
        (
            camtfile.statement("FR7630006000011234567890189", "0.00", "1.00", camtfile.entry("1.00")).replace(
                b"</Ntry>", b"<NtryDtls>" + b"<TxDtls/>" * 200_001 + b"</NtryDtls></Ntry>"
            ),
            "entry 1: more than 200000 details",
        ),
        *(
            (
                camtfile.statement("FR7630006000011234567890189", "0.00", "1.00", camtfile.entry("1.00")).replace(
                    at, at + one * 500_000, 1
                ),
                "entry 1: more than 4 MiB of one detail or beside the details",
            )
            for at, one in ((b"<RmtInf>", b"<Ustrd>text</Ustrd>"), (b"<Stmt>", b"<Bal>text</Bal>"), (b"<GrpHdr>", b"<X>ofabank</X>"))
        ),
        (samples.ofx().replace("<STMTTRN>", "<A>" * 1_000 + "<STMTTRN>", 1).encode(), "more than 1,000 elements within each other"),
        (samples.ofx().replace("<MEMO>", "".join(f"<A{n}>x" for n in range(10_000)) + "<MEMO>", 1).encode(), "more than 10,000 values"),
        (samples.ofx().replace("<CURDEF>", "".join(f"<A{n}>x" for n in range(10_000)) + "<CURDEF>", 1).encode(), "more than 10,000 values"),
    ],
)
def test_what_is_in_memory_together_has_a_bound(data, why):
    with pytest.raises(BankFileError, match=why):
        movements(data)


ENTRY = camtfile.entry("1.00").encode()
STATEMENT = camtfile.statement("FR7630006000011234567890189", "0.00", "1.00", ENTRY.decode())
FOREIGN = b"<X>" + b"<Y/>" * 350_000 + b"</X>"
DETAIL = b"<TxDtls><Refs><EndToEndId>E2E</EndToEndId></Refs></TxDtls>"


def with_details(*groups: bytes) -> bytes:
    """The statement with one entry that has these beside its amount."""
    return STATEMENT.replace(b"</Ntry>", b"".join(groups) + b"</Ntry>")


@pytest.mark.parametrize(
    "data",
    [
        STATEMENT.replace(ENTRY, (ENTRY + FOREIGN) * 4),
        STATEMENT.replace(ENTRY, ENTRY * 60 + (ENTRY + FOREIGN) * 4),
        with_details(b"<NtryDtls>", (DETAIL + FOREIGN) * 4, DETAIL, b"</NtryDtls>"),
        with_details((b"<NtryDtls>" + FOREIGN + DETAIL + b"</NtryDtls>") * 4),
        with_details((b"<NtryDtls>" + DETAIL + FOREIGN + b"</NtryDtls>") * 4),
        with_details((FOREIGN + b"<NtryDtls>" + DETAIL + b"</NtryDtls>") * 5),
        with_details((b"<NtryDtls>" + FOREIGN + b"</NtryDtls><NtryDtls>" + DETAIL + b"</NtryDtls>") * 5),
        with_details((b"<NtryDtls/>" * 20_000 + b"<NtryDtls>" + DETAIL + b"</NtryDtls>") * 5),
    ],
    ids=["entries", "alike", "details", "before", "behind", "groups", "without-details", "empty"],
)
def test_what_a_bank_has_no_place_for_is_counted_as_long_as_it_is_in_memory(data):
    """Each piece between two details or entries is far below the bound, which begins anew at none."""
    with pytest.raises(BankFileError, match="more than 4 MiB of one detail or beside the details"):
        movements(data)


@pytest.mark.parametrize("around", [b"BkToCstmrStmt", b"Stmt"])
def test_what_stands_between_statements_is_let_go(around):
    begun, end = STATEMENT.index(b"<" + around + b">"), STATEMENT.index(b"</" + around + b">") + len(around) + 3
    data = STATEMENT[:begun] + (STATEMENT[begun:end] + FOREIGN) * 4 + STATEMENT[end:]
    assert [one.amount_minor for one in movements(data)] == [100] * 4


@pytest.mark.parametrize("place", ["first", "behind another"])
def test_the_header_of_a_message_is_kept_for_all_of_its_statements(place):
    """Entries without a day are of the day that it was made on."""
    undated = re.sub(rb"<(BookgDt|ValDt)>.*?</\1>", b"", STATEMENT)
    header, statement = undated.index(b"<GrpHdr>"), undated.index(b"<Stmt>")
    end = undated.index(b"</Stmt>") + len(b"</Stmt>")
    one = re.sub(rb"<CreDtTm>.*?</CreDtTm>", b"", undated[statement:end])
    before = FOREIGN if place == "behind another" else b""
    data = undated[:header] + before + undated[header:statement] + (one + FOREIGN) * 3 + undated[end:]
    day = undated.partition(b"<CreDtTm>")[2][:10].decode()
    assert [found.day.isoformat() for found in movements(data)] == [day] * 3


def test_details_of_many_kinds_of_elements_take_memory_for_each(monkeypatch):
    """Their texts are few: it is the names that take it."""
    monkeypatch.setattr(camt, "MAX_WEIGHT", 4 << 20)
    detail = b"<TxDtls>%s</TxDtls>" % b"".join(b"<Y%d>z</Y%d>" % (number, number) for number in range(200))
    with pytest.raises(BankFileError, match="entry 1: its details take more than"):
        movements(with_details(b"<NtryDtls>", detail * 400, b"</NtryDtls>"))
    assert len(movements(with_details(b"<NtryDtls>", DETAIL * 4_000, b"</NtryDtls>"))) == 1
    entry = ENTRY.replace(b"</Ntry>", b"<NtryDtls>" + detail + b"</NtryDtls></Ntry>")
    assert len(movements(STATEMENT.replace(ENTRY, entry * 400))) == 400


@pytest.mark.parametrize(
    ("name", "end", "why"),
    [
        ("mt942", ":61:2603020302CR1", "the envelope has no end"),
        ("mt942", ":86:Frais", "the envelope has no end"),
        ("coda", "EUR0000", "a balance: '.*' is no amount"),
    ],
)
def test_a_file_that_is_cut_off_says_so(name, end, why):
    """The amount of the first was 100."""
    text = samples.ALL[name]()
    cut = text[: text.index(end) + len(end)]
    (problem,) = [statement.problem for statement, entry in read(io.BytesIO(cut.encode())) if entry is None]
    assert re.match(why, problem)


def test_an_amount_at_the_end_of_a_line_may_be_a_part_of_one_where_no_balance_proves_it():
    text = samples.ALL["mt942"]()
    plain = text[text.index(":20:") : text.index("NTRFE2E-1")]
    (problem,) = [entry.problem for _, entry in read(io.BytesIO(plain.encode())) if entry]
    assert "ends with its amount" in problem


def test_an_amount_with_a_comma_is_quoted():
    data = camtfile.statement("FR7630006000011234567890189", "0.00", "1.00", camtfile.entry("1,00"))
    (problem,) = [entry.problem for _, entry in read(io.BytesIO(data)) if entry]
    assert "'1,00' is no amount" in problem


@pytest.mark.parametrize("kind", ["5", "7", "9"])
def test_a_collective_booking_of_many_details_is_read(kind):
    day = samples.coda().splitlines(keepends=True)
    many = 20_000

    def record(detail: int, code: str, amount: int) -> str:
        money = f"210001{detail:04d}{detail:<21}0{amount * 10:015d}020326"
        return f"{money}{code}01500000{' ' * 53}02032606100 0".ljust(128) + "\n"

    parts = [record(0, "2", many), *(record(at % 9_999 + 1, kind, 1) for at in range(many))]
    found = movements("".join([*day[:2], *parts, *day[-2:]]).encode())
    assert (len(found), sum(one.signed_minor for one in found)) == (many, many)


@pytest.mark.parametrize("name", ["ofx", "cfonb120"])
def test_blank_lines_cost_no_more_than_others(name):
    text = samples.ALL[name]()
    at = text.index("\n", 400) + 1
    begun = time.process_time()
    found = movements((text[:at] + "\n" * 150_000 + text[at:]).encode())
    assert len(found) == 3
    assert time.process_time() - begun < 2  # 8 s, where each line is looked at again with every one behind it
