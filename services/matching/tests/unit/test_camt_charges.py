"""What a camt message says that a bank charged, however it is written."""

import io

import pytest
from matching.bankfiles import camt

HEAD = (
    '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt><Id>1</Id>'
    "<Acct><Id><IBAN>DE89370400440532013000</IBAN></Id><Ccy>EUR</Ccy></Acct>"
)
ENTRY = (
    '<Ntry><Amt Ccy="EUR">10.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt>{}'
    "<NtryDtls><TxDtls>{}<Refs><EndToEndId>E-1</EndToEndId></Refs></TxDtls></NtryDtls></Ntry>"
)


def total(amount: str, currency: str = "EUR") -> str:
    return f'<TtlChrgsAndTaxAmt Ccy="{currency}">{amount}</TtlChrgsAndTaxAmt>'


def record(amount: str, indicator: str = "", currency: str = "EUR", tag: str = "Rcrd") -> str:
    said = f'<Amt Ccy="{currency}">{amount}</Amt>' + (f"<CdtDbtInd>{indicator}</CdtDbtInd>" if indicator else "")
    return f"<{tag}>{said}<ChrgInclInd>false</ChrgInclInd></{tag}>"


def charges(*parts: str) -> str:
    return f"<Chrgs>{''.join(parts)}</Chrgs>"


FORMS = [
    (charges(total("4.14")), [(414, "EUR")]),
    (charges(total("0")), [(0, "EUR")]),
    (charges(total("1.24"), record("1.20", "DBIT"), record("0.04", "DBIT")), [(120, "EUR"), (4, "EUR")]),
    (charges(record("1.20"), record("0.04")), [(120, "EUR"), (4, "EUR")]),
    (charges(total("5.20"), record("5.40", "DBIT"), record("0.20", "CRDT")), [(540, "EUR"), (-20, "EUR")]),  # a part is given back
    (charges(record("5.40", "DBIT"), record("0.20", "CRDT")), [(540, "EUR"), (-20, "EUR")]),
    (charges(total("5.60"), record("5.40", "DBIT"), record("0.20", "CRDT")), [(540, "EUR"), (20, "EUR")]),  # the total says otherwise
    (charges(total("2.95"), record("1.20", "CRDT"), record("1.75", "CRDT")), [(120, "EUR"), (175, "EUR")]),
    (charges(total("6.00"), record("5.00", "DBIT")), [(600, "EUR")]),  # a tax that no record tells of
    (charges(total("6.00"), record("5.00", "DBIT", "USD")), [(500, "USD")]),
    (charges(total("0.00", "XXX"), record("5.00", "DBIT")), [(500, "EUR")]),  # no currency: nothing is said
    (record("3.00", tag="Chrgs") + record("0.50", tag="Chrgs"), [(300, "EUR"), (50, "EUR")]),  # version 02
    (record("3.00", "DBIT", tag="Chrgs") + record("0.50", "CRDT", tag="Chrgs"), [(300, "EUR"), (-50, "EUR")]),
    ("", []),
]


@pytest.mark.parametrize(("said", "charged"), FORMS)
@pytest.mark.parametrize("many", [1, 1_000_000])
def test_charges_are_told_in_every_form_at_the_entry_and_its_detail_with_and_without_the_parser(said, charged, many, monkeypatch):
    monkeypatch.setattr(camt, "MANY", many)
    for entry in (
        ENTRY.format(said, ""),
        ENTRY.format("", said),
        ENTRY.format(charges(record("9.99")), said) if said else ENTRY.format("", ""),
    ):
        data = (HEAD + entry * 3 + "</Stmt></BkToCstmrStmt></Document>").encode()
        found = [one for _, read in camt.read(io.BytesIO(data)) if read for one in read.transactions]
        assert [[(charge.minor, charge.currency) for charge in one.charges] for one in found] == [charged] * 3
        assert {one.amount_minor for one in found} == {1000}
