"""`invoicing parse` and its readers on small files of our own: every format, every kind of refusal, hostile bytes."""

import json
import sys
import zlib
from unittest import mock

import psutil
import pytest
from ciifile import CORE, blank_pdf, cii, facturx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invoicing.__main__ import main
from invoicing.einvoices import artefacts, pdffile, pool, xmlfile
from invoicing.einvoices.pool import ReaderPool
from invoicing.einvoices.profiles import profile_of
from invoicing.einvoices.reading import Reading
from invoicing.einvoices.summary import summary
from ublfile import ubl

PEPPOL = "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
XRECHNUNG = "urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_"


@pytest.fixture(scope="module")
def readers():
    with ReaderPool(1) as made:
        yield made


@pytest.fixture
def said(readers):
    return lambda data: json.loads(json.dumps(summary(readers.read_now(data))))


def ids(answer, *severities: str) -> set[str]:
    return {rule["id"] for rule in answer["rules"] if not severities or rule["severity"] in severities}


def test_command_prints_one_object_a_file_in_order_and_exits_0(tmp_path, capsys):
    contents = {"good.txt": ubl(), "cii.xml": cii(), "bad.xml": ubl(payable="1.00"), "not.xml": b"no xml", "scan.pdf": b"%PDF-1.4"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    assert main_with("parse", *(str(tmp_path / name) for name in contents)) == 0
    good, cross, bad, unread, scan = map(json.loads, capsys.readouterr().out.splitlines())
    assert (good["format"], good["verdict"], good["rules"]) == ("ubl-invoice", "accepted", [])
    assert good["invoice"]["payable_minor"] == 12000
    assert (cross["format"], cross["verdict"]) == ("cii", "accepted")
    assert bad["verdict"] == "rejected"
    assert bad["rules"] == [{"id": "BR-CO-16", "severity": "fatal", "source": "EN 16931 1.3.16"}]
    assert (unread["verdict"], unread["format"]) == ("unreadable", "unknown")
    assert (scan["verdict"], scan["format"]) == ("unreadable", "pdf")


def test_unusable_argument_is_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main_with("parse", str(tmp_path / "absent.xml"))
    assert ended.value.code == 2
    assert "absent.xml: is no file" in capsys.readouterr().err


def main_with(*argv: str) -> int:
    with mock.patch.object(sys, "argv", ["invoicing", *argv]):
        return main()


@pytest.mark.parametrize(("data", "container"), [(cii(), None), (facturx(), "pdf")])
def test_cii_and_the_invoice_in_a_pdf_say_the_same(said, data, container):
    answer = said(data)
    assert (answer["format"], answer["container"], answer["verdict"], answer["rules"]) == ("cii", container, "accepted", [])
    invoice = answer["invoice"]
    assert (invoice["invoice_number"], invoice["issue_date"], invoice["due_date"]) == ("C-1", "2026-03-05", "2026-04-04")
    assert [invoice[f"{name}_minor"] for name in ("net", "tax", "total", "payable")] == [10000, 2000, 12000, 12000]
    assert (invoice["payment_reference"], invoice["iban"]) == ("RF18539007547034", "FR7630006000011234567890189")
    assert invoice["order_numbers"] == ["PO-7"]
    assert invoice["seller"]["identifiers"] == [{"scheme": "vat", "value": "FR40303265045"}]
    assert invoice["buyer"]["identifiers"] == [{"scheme": "0002", "value": "552100554"}]


def test_newer_form_in_a_pdf_is_the_invoice_and_two_of_one_name_are_refused(said):
    newer = said(
        blank_pdf(zugferd_invoice_xml=b"<a/>", factur_x_xml=b"<a/>", **{"factur-x_xml": cii("NEW"), "zugferd-invoice_xml": cii("OLD")})
    )
    assert newer["invoice"]["invoice_number"] == "NEW"
    several = said(blank_pdf(one_xml=cii("A"), two_xml=cii("B")))
    assert (several["verdict"], several["reason"]) == ("unreadable", "a PDF file with several embedded invoices")
    none = said(blank_pdf(note_xml=b"<note/>", readme_txt=b"x"))
    assert none["reason"] == "a PDF file without an embedded invoice"


def test_profile_picks_the_rules_and_an_unknown_one_says_so(said):
    assert "PEPPOL-EN16931-R010" in ids(said(ubl().replace(CORE.encode(), PEPPOL.encode())), "fatal")
    german = said(ubl().replace(CORE.encode(), f"{XRECHNUNG}3.0".encode()))
    assert {"BR-DE-1", "BR-DE-2"} <= ids(german, "fatal")
    unknown = said(ubl().replace(CORE.encode(), b"urn:example:mine"))
    assert (unknown["verdict"], ids(unknown)) == ("accepted", {"ENC-PROFILE"})
    minimum = said(cii(profile="urn:factur-x.eu:1p0:minimum"))
    assert minimum["rule_sets"] == ["Factur-X 1.09 MINIMUM", "EN 16931 1.3.16"]


@pytest.mark.parametrize(
    ("identifier", "syntax", "names"),
    [
        (f"{XRECHNUNG}3.0#conformant#urn:xeinkauf.de:kosit:extension:xrechnung_3.0", "ubl", ["EN 16931 1.3.16", "XRechnung 3.0.2"]),
        ("urn:cen.eu:en16931:2017#conformant#urn:factur-x.eu:1p0:extended", "cii", ["Factur-X 1.09 EXTENDED", "EN 16931 1.3.16"]),
        ("urn:cen.eu:en16931:2017#conformant#urn:UBL.BE:1.0.0.20180214", "ubl", ["EN 16931 1.3.16", "UBL.BE 1.31"]),
        (PEPPOL, "cii", ["EN 16931 1.3.16"]),
        (f"{XRECHNUNG}9.9", "cii", ["EN 16931 1.3.16"]),
        (None, "ubl", ["EN 16931 1.3.16"]),
    ],
)
def test_rule_sets_of_a_profile(identifier, syntax, names):
    root = "Invoice" if syntax == "ubl" else "CrossIndustryInvoice"
    assert [rules.name for rules in profile_of(identifier, syntax, root).rules] == names


def test_what_the_norm_does_not_check_is_a_warning(said):
    spoiled = cii(account="FR7630006000011234567890188").replace(b">552100554<", b">552100555<").replace(b"FR40303265045", b"FR41303265045")
    answer = said(spoiled.replace(b">50.00<", b">49.00<"))
    assert answer["verdict"] == "accepted"
    assert ids(answer, "warning") == {"ENC-IBAN", "ENC-SIREN", "ENC-VAT", "ENC-LINE-AMOUNT"}


def test_due_date_beyond_the_laws_maximum_is_a_warning_with_its_source(said):
    answer = said(cii(due="20261231"))
    [finding] = answer["findings"]
    assert (answer["verdict"], finding["rule"]) == ("accepted", "ENC-TERM")
    assert "L441-10" in finding["detail"]


@pytest.mark.parametrize(
    ("name", "space", "form", "words"),
    [
        (
            "ApplicationResponse",
            "urn:oasis:names:specification:ubl:schema:xsd:ApplicationResponse-2",
            "ubl-application-response",
            "response",
        ),
        ("Order", "urn:oasis:names:specification:ubl:schema:xsd:Order-2", "ubl-order", "Order"),
        (
            "CrossDomainAcknowledgementAndResponse",
            "urn:un:unece:uncefact:data:standard:CrossDomainAcknowledgementAndResponse:100",
            "cdar",
            "life-cycle",
        ),
        ("SCRDMCCBDACIOMessageStructure", "urn:un:unece:uncefact:data:SCRDMCCBDACIOMessageStructure:100", "order-x", "order"),
        ("memo", "urn:example", "xml:memo", "memo"),
    ],
)
def test_other_documents_are_named(said, name, space, form, words):
    answer = said(f'<{name} xmlns="{space}"/>'.encode())
    assert (answer["verdict"], answer["format"]) == ("unreadable", form)
    assert words in answer["reason"]


def test_peppol_envelope_is_opened(said):
    space = "http://www.unece.org/cefact/namespaces/StandardBusinessDocumentHeader"
    inner = ubl().split(b"?>", 1)[1].decode()
    answer = said(f'<StandardBusinessDocument xmlns="{space}"><StandardBusinessDocumentHeader/>{inner}</StandardBusinessDocument>'.encode())
    assert (answer["container"], answer["format"], answer["verdict"]) == ("sbd", "ubl-invoice", "accepted")


BOMB = zlib.compress(b"\0" * 200_000_000, 9)


def pdf_bomb() -> bytes:
    """A PDF whose embedded XML unpacks to 200 MB."""
    whole = blank_pdf(**{"factur-x_xml": b"MARK" * 300})
    begin = whole.index(b"stream\n", whole.index(b"/EmbeddedFile")) + 7
    end = whole.index(b"\nendstream", begin)
    head = whole[:begin].replace(b"/Type /EmbeddedFile", b"/Type /EmbeddedFile /Filter /FlateDecode")
    return head.replace(f"/Length {end - begin}".encode(), f"/Length {len(BOMB)}".encode()) + BOMB + whole[end:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a",
        b"\xff\xfe\x00",
        b"<a>" * 100_000,
        b"<a>" + b"x" * 15_000_000 + b"</a>",
        b"<a " + b" ".join(b'a%d="1"' % n for n in range(500_000)) + b"/>",
        b"x" * (xmlfile.MAX_BYTES + 1),
        ubl(prolog='<!DOCTYPE Invoice [<!ENTITY x SYSTEM "file:///etc/passwd">]>', number="&x;"),
        cii(prolog='<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>', number="&b;"),
        b"%PDF-1.7",
        pdf_bomb(),
        facturx().replace(b"/FlateDecode", b"/-1"),
        b"%PDF-1.4\n" + b"1 0 obj<</Kids[1 0 R]>>endobj " * 10_000,
    ],
)
def test_hostile_file_is_refused_in_seconds(said, data):
    answer = said(data)
    assert answer["verdict"] == "unreadable", answer
    assert answer["reason"]


def test_reader_that_runs_away_is_replaced_and_the_pool_lives():
    with mock.patch.object(pool, "WALL_SECONDS", 0.05), ReaderPool(1) as made:
        cold = made.read_now(ubl())  # compiling takes longer than this pool allows
        assert cold.verdict == "unreadable"
        assert (cold.reason or "").startswith("reading it took more than")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with ReaderPool(1) as made:
        made.read_now(b"")
        for worker in psutil.Process().children(recursive=True):
            if "spawn_main" in " ".join(worker.cmdline()) and worker.pid not in before:
                worker.kill()
        assert made.read_now(ubl()).verdict == "accepted"


def clean(reading: Reading) -> None:
    assert reading.verdict in {"accepted", "rejected", "unreadable"}
    assert (reading.reason is not None) == (reading.verdict == "unreadable")
    json.dumps(summary(reading))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000) | st.binary(max_size=300).map(lambda tail: b"%PDF-1.7\n" + tail))
def test_any_bytes_give_a_clean_answer(readers, data):
    clean(readers.read_now(data))


SOUND = (ubl(), cii(), facturx())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    whole=st.sampled_from(SOUND),
    at=st.integers(0, 10**6),
    length=st.integers(0, 40),
    put=st.sampled_from([b"", b"-1", b"1e9", b"NaN", b"eur", b"9" * 40, b"9999-12-31", b"0000-00-00", b"<", b"\0", b"&#x1F9FE;" * 300]),
)
def test_mutated_and_truncated_files_give_a_clean_answer(readers, whole, at, length, put):
    at %= len(whole)
    clean(readers.read_now(whole[:at] + put + whole[at + length :] if length else whole[:at]))


@pytest.fixture(scope="module")
def published(shared_data) -> list[bytes]:
    """Some files of each kind of the collection beside the checkout, small ones."""
    folder = shared_data / "invoices"
    if not folder.is_dir():
        pytest.skip("the collection of e-invoices is not beside this checkout")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in {".xml", ".pdf"} and path.stat().st_size < 200_000]
    return [path.read_bytes() for path in found[::20]]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 10**6), at=st.integers(0, 10**6), length=st.integers(0, 200), put=st.binary(max_size=8))
def test_mutated_and_truncated_published_files_give_a_clean_answer(readers, published, which, at, length, put):
    whole = published[which % len(published)]
    at %= len(whole)
    clean(readers.read_now(whole[:at] + put + whole[at + length :] if length else whole[:at]))


def test_every_artefact_is_where_the_profiles_say():
    named = (CORE, PEPPOL, PEPPOL.replace("billing", "selfbilling"), "urn:cen.eu:en16931:2017#conformant#urn:UBL.BE:1.0.0.20180214")
    german = [f"{XRECHNUNG}{version}" for version in ("1.2", "2.0", "2.1", "2.2", "2.3", "3.0")]
    french = [f"urn:factur-x.eu:1p0:{level}" for level in ("minimum", "basicwl", "basic", "extended")] + [
        "urn.cpro.gouv.fr:1p0:extended-ctc-fr"
    ]
    for syntax, root in (("ubl", "Invoice"), ("ubl", "CreditNote"), ("cii", "CrossIndustryInvoice")):
        for identifier in (*named, *german, *french):
            profile = profile_of(identifier, syntax, root)
            assert all(artefacts.read(artefact) for artefact in (profile.schema, *(rules.artefact for rules in profile.rules)))


def test_pdf_reader_keeps_its_bounds():
    assert pdffile.is_pdf(b"\n\n%PDF-1.7")
    assert not pdffile.is_pdf(ubl())
