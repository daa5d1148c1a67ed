"""Entries read off the text by what was learnt of those before them are what the XML parser alone makes of the file, its errors too."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matching.bankfiles import BankFileError, alike, camt

HEAD = (
    '<?xml version="1.0"?>\n<{p}Document xmlns{c}="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><{p}BkToCstmrStmt><{p}Stmt>'
    "<{p}Id>1</{p}Id><{p}Acct><{p}Id><{p}IBAN>DE89370400440532013000</{p}IBAN></{p}Id><{p}Ccy>EUR</{p}Ccy></{p}Acct>\n"
)
BEGIN = (
    '<{p}Ntry>\n <{p}Amt Ccy="EUR">{amount}</{p}Amt><{p}CdtDbtInd>CRDT</{p}CdtDbtInd><{p}BookgDt><{p}Dt>2026-03-02</{p}Dt></{p}BookgDt>\n'
)
DETAIL = (
    '<{p}TxDtls><{p}Refs><{p}EndToEndId>{amount}</{p}EndToEndId></{p}Refs><{p}Amt Ccy="EUR">{amount}</{p}Amt><{p}RltdPties><{p}Dbtr><{p}Nm>'
    "{name}</{p}Nm></{p}Dbtr></{p}RltdPties><{p}RmtInf><{p}Ustrd> a\n b </{p}Ustrd><{p}Ustrd/></{p}RmtInf></{p}TxDtls>\n"
)
BODIES = [
    "<{p}AcctSvcrRef>{name}</{p}AcctSvcrRef>",
    "<{p}NtryDtls>" + DETAIL + "</{p}NtryDtls>\n",
    "<{p}NtryDtls>" + DETAIL + "<{p}TxDtls/></{p}NtryDtls>",
    "<{p}NtryDtls>" + DETAIL + "</{p}NtryDtls><{p}NtryDtls>" + DETAIL + "</{p}NtryDtls>",
    "<{p}Strange>" + DETAIL + "</{p}Strange>",
]
DAMAGE = [
    "<", ">", "&", "&#65;", "&nobody;", "]]>", "<!-- </Ntry> -->", "<![CDATA[<Ntry>]]></Ntry>]]>",
    "<?a b?>", "<Ntry/>", "<Ntry>", "</Ntry>",
    "<TxDtls/>", "</Stmt><Stmt>", "</Stmt></BkToCstmrStmt></Document>", "\x00", "\x0b", "\r", "\r\n", "\ufffe", "\x1a", "Ccy", ' x="y"',
]  # fmt: skip
NAMES = st.sampled_from(["Meier", "Müller &amp; S&apos;n", " \u2028x ", "&lt;&quot;&gt;", ""])


@st.composite
def files(draw) -> str:
    p = draw(st.sampled_from(["", "n:"]))
    entry = st.tuples(st.sampled_from(["1.00", "1,5", "20"]), st.sampled_from(BODIES), NAMES)
    drawn = [
        (BEGIN + body + "</{p}Ntry>\n").format(p=p, amount=amount, name=name) for amount, body, name in draw(st.lists(entry, min_size=3))
    ]
    text = HEAD.format(p=p, c=":n" if p else "") + "".join(drawn * draw(st.integers(1, 3))) + f"</{p}Stmt></{p}BkToCstmrStmt></{p}Document>"
    for where, what in draw(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(DAMAGE)), max_size=2)):
        at = int(where * len(text))
        text = text[:at] + what + text[at + draw(st.integers(0, 3)) :]
    return text


def told(data: bytes, many: int) -> list[str]:
    """What is read, and how it ends."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camt, "MANY", many)
        patch.setattr(camt, "_PIECE", 700)
        try:
            found += [repr(entry or statement) for statement, entry in camt.read(io.BytesIO(data))]
        except BankFileError as error:
            found.append(f"refused: {error}")
    return found


@given(files(), st.sampled_from(["utf-8", "utf-16", "cp1252"]), st.booleans())
def test_what_is_read_without_the_parser_is_what_the_parser_reads(text, encoding, dos):
    data = (text.replace("\n", "\r\n") if dos else text).encode(encoding, "ignore")
    assert told(data, 1) == told(data, 1_000_000)


def test_the_parser_is_spared_nearly_all_of_a_long_file_and_finds_an_error_in_its_line(monkeypatch):
    read = []
    known = alike.Alike.read
    monkeypatch.setattr(alike.Alike, "read", lambda *given: read.append(known(*given)) or read[-1])
    entry = (BEGIN + DETAIL.replace("TxDtls", "Other") + "</{p}Ntry>\n").format(p="", amount="1.00", name="Meier &amp; Co")
    text = HEAD.format(p="", c="") + entry * 900 + "</Ntry>\n" + entry * 100
    lines = text[: text.index("\n</Ntry>\n</Ntry>")].count("\n") + 3
    with pytest.raises(BankFileError, match=rf"\(line {lines}\)"):
        list(camt.read(io.BytesIO(text.encode())))
    assert sum(one is not None for one in read) > 700
