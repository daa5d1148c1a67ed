"""What the ERP and the bank write is well-formed, valid by the published schemas where present, and adds up."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from facturx import get_xml_from_pdf
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from sandbox import camt
from sandbox.actions import Document
from sandbox.bank import Bank, Order
from sandbox.erp import Erp
from sandbox.webhooks import signed
from sandbox.world import World, generate
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

TENANT, ENTITY = UUID(int=1), UUID(int=2)
DAY, NOW = date(2026, 1, 5), datetime(2026, 1, 5, 20, tzinfo=UTC)
OWN, VIRTUAL = "FR7699999619209999999990002", "FR7699999619200000000000001"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def erp(world: World) -> Erp:
    return Erp(world, tenant_id=TENANT, entity_id=ENTITY, virtual_ibans={})


def schema(shared_data: Path, name: str) -> etree.XMLSchema:
    file = shared_data / "reference" / name
    if not file.exists():
        pytest.skip(f"the published schema {name} is not beside this checkout")
    return etree.XMLSchema(etree.parse(file))


def documents(world: World) -> list[Document]:
    return list(world.documents())


def test_ubl_is_valid_by_the_schemas(shared_data: Path) -> None:
    world = generate(seed=4, customers=60, days=90)
    schemas = {kind: schema(shared_data, f"xsd_ubl_2.1/maindoc/UBL-{kind}-2.1.xsd") for kind in ("Invoice", "CreditNote")}
    seen = set()
    for document in documents(world):
        root = etree.fromstring(erp(world).ubl(document))
        kind = etree.QName(root).localname
        seen.add(kind)
        schemas[kind].assertValid(root)
    assert seen == {"Invoice", "CreditNote"}


def test_cii_is_valid_by_the_schema_and_a_factur_x_file_embeds_it(shared_data: Path) -> None:
    world = generate(seed=4, customers=10, days=30)
    written = schema(shared_data, "xsd_cii_d16b/uncefact/data/standard/CrossIndustryInvoice_100pD16B.xsd")
    for document in documents(world):
        written.assertValid(etree.fromstring(erp(world).file(replace(document, channel="cii"))))
    pdf = erp(world).file(replace(document, channel="facturx"))
    name, embedded = get_xml_from_pdf(pdf, check_xsd=False)
    assert (name, embedded) == ("factur-x.xml", erp(world).file(replace(document, channel="cii")))


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_ubl_adds_up(seed: int) -> None:
    world = generate(seed=seed, customers=8, days=20)
    for document in documents(world):
        root = etree.fromstring(erp(world).ubl(document))

        def sums(path: str, root: Any = root) -> Decimal:
            return sum((Decimal(found.text) for found in root.iterfind(path, {"c": "{*}"})), Decimal(0))

        lines = sums("{*}InvoiceLine/{*}LineExtensionAmount") + sums("{*}CreditNoteLine/{*}LineExtensionAmount")
        net, gross = sums("{*}LegalMonetaryTotal/{*}TaxExclusiveAmount"), sums("{*}LegalMonetaryTotal/{*}TaxInclusiveAmount")
        assert lines == sums("{*}LegalMonetaryTotal/{*}LineExtensionAmount") == net
        assert gross == net + sums("{*}TaxTotal/{*}TaxAmount")
        assert gross - sums("{*}LegalMonetaryTotal/{*}PrepaidAmount") == sums("{*}LegalMonetaryTotal/{*}PayableAmount")


def test_every_bad_document_of_the_full_play_can_be_written() -> None:
    world = generate(seed=1)
    bad = [each for day in world.days for each in day.bad_documents]
    assert {(each.document.channel, each.fault) for each in bad} >= {
        (channel, fault) for channel in ("ubl", "cii", "facturx") for fault in ("bad_sum", "missing_field", "unknown_seller")
    }
    for each in bad:
        if each.document.channel != "json":
            assert erp(world).file(each.document, each.fault)


def test_bad_documents_are_bad() -> None:
    world = generate(seed=4, customers=10, days=10)
    good = documents(world)[-1]
    seller = world.seller.party.vat_id
    faulty = {fault: etree.fromstring(erp(world).ubl(good, fault)) for fault in ("bad_sum", "missing_field", "unknown_seller")}  # type: ignore[arg-type]
    assert faulty["missing_field"].find("{*}ID") is None
    assert faulty["unknown_seller"].findtext(".//{*}AccountingSupplierParty//{*}PartyTaxScheme/{*}CompanyID") != seller
    totals = faulty["bad_sum"].find("{*}LegalMonetaryTotal")
    assert Decimal(totals.findtext("{*}TaxInclusiveAmount")) != Decimal(totals.findtext("{*}TaxExclusiveAmount")) + Decimal(
        faulty["bad_sum"].findtext("{*}TaxTotal/{*}TaxAmount")
    )
    for bad in (bad for day in world.days for bad in day.bad_documents):
        body = erp(world).bad_invoice(bad)
        right = erp(world).invoice(bad.document)
        assert body != right
        assert bad.fault != "unknown_seller" or body["entity_id"] != str(ENTITY)


def order(amount: int, *, day: date = DAY, to: str = OWN, **texts: Any) -> Order:
    return Order(debtor_name="Boreal & Fils SAS", debtor_iban=OWN, to_iban=to, amount_minor=amount, day=day, **texts)


def bank() -> Bank:
    opened = Bank(iban=OWN, currency="EUR", holder="Seller SAS", first_day=DAY, opening_minor=12_345)
    opened.open_virtual_ibans([VIRTUAL])
    return opened


def balances(xml: bytes) -> dict[str, int]:
    found = {}
    for balance in etree.fromstring(xml).iterfind(".//{*}Bal"):
        sign = 1 if balance.findtext("{*}CdtDbtInd") == "CRDT" else -1
        found[str(balance.findtext("{*}Tp/{*}CdOrPrtry/{*}Cd"))] = sign * int(Decimal(str(balance.findtext("{*}Amt"))) * 100)
    return found


def movements(xml: bytes) -> list[int]:
    return [
        int(Decimal(str(entry.findtext("{*}Amt"))) * 100) * (1 if entry.findtext("{*}CdtDbtInd") == "CRDT" else -1)
        for entry in etree.fromstring(xml).iterfind(".//{*}Ntry")
    ]


def test_camt_is_valid_by_the_schemas(shared_data: Path) -> None:
    ours = bank()
    for index, notice in enumerate(("json", "camt054", "statement", "statement", "statement", "camt054")):
        ours.accept(
            order(100 + index, to=VIRTUAL, end_to_end_id="E2E", structured_reference="RF18539007547034", remittance=("Facture F1",)),
            notice=notice,  # type: ignore[arg-type]
        )
    first = ours.accept(order(5_000), notice="camt054")
    ours.give_back(first.reference, day=DAY, reason="CUST")
    for message in ours.camt054(NOW):
        schema(shared_data, "iso20022_xsd/camt.054.001.08.xsd").assertValid(etree.fromstring(message))
    for day in (DAY, DAY + timedelta(days=1)):
        schema(shared_data, "iso20022_xsd/camt.053.001.08.xsd").assertValid(etree.fromstring(ours.statement(day, NOW)))


@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), st.integers(0, 3), st.sampled_from(["json", "camt054", "statement"]), st.booleans()), max_size=25
    )
)
@settings(max_examples=50, deadline=None)
def test_statements_chain_and_tell_each_transfer_once(moves: list[tuple[int, int, Any, bool]]) -> None:
    ours = bank()
    accepted = [
        ours.accept(order(amount, day=DAY + timedelta(days=day)), notice=notice, twice=day == 2) for amount, day, notice, _ in moves
    ]
    for transaction, (_, day, _, back) in zip(accepted, moves, strict=True):
        if back:
            ours.give_back(transaction.reference, day=DAY + timedelta(days=min(3, day + 1)), reason="CUST")
    closing, booked, references = 12_345, 0, []
    for offset in range(4):
        xml = ours.statement(DAY + timedelta(days=offset), NOW)
        found = balances(xml)
        assert found["OPBD"] == closing
        assert found["CLBD"] == closing + sum(movements(xml))
        closing, booked = found["CLBD"], booked + sum(movements(xml))
        references += [ref.text for ref in etree.fromstring(xml).iterfind(".//{*}TxDtls/{*}Refs/{*}AcctSvcrRef")]
    assert booked == ours.received_minor - ours.returned_minor
    assert len(references) == len(set(references)) == len(moves) + sum(back for *_, back in moves)


def test_a_broken_statement_does_not_add_up() -> None:
    ours = bank()
    ours.accept(order(1_000))
    found = camt.with_wrong_balance(ours.statement(DAY, NOW))
    assert balances(found)["CLBD"] == balances(found)["OPBD"] + sum(movements(found)) + 1


def test_the_bank_refuses_what_it_cannot_book() -> None:
    ours = bank()
    with pytest.raises(ValueError, match="positive"):
        ours.accept(order(0))
    with pytest.raises(ValueError, match="no IBAN of account"):
        ours.accept(order(1, to="FR7699999619200000000000098"))
    with pytest.raises(ValueError, match="next statement"):
        ours.statement(DAY + timedelta(days=1), NOW)
    ours.statement(DAY, NOW)
    with pytest.raises(ValueError, match="is out"):
        ours.accept(order(1))
    assert (ours.received_minor, ours.returned_minor) == (0, 0)
    paid = ours.accept(order(7, day=DAY + timedelta(days=1)))
    ours.give_back(paid.reference, day=DAY + timedelta(days=1), reason="CUST")
    with pytest.raises(ValueError, match="gone back"):
        ours.give_back(paid.reference, day=DAY + timedelta(days=1), reason="CUST")


def test_what_is_told_twice_is_one_transfer_under_one_reference() -> None:
    ours = bank()
    paid = ours.accept(order(1_000, to=VIRTUAL), twice=True)
    ours.accept(order(2_000), notice="camt054", twice=True)
    told = ours.notifications()
    assert [body["bank_reference"] for body in told] == [paid.reference, paid.reference]
    assert told[0]["virtual_iban"] == VIRTUAL
    assert len(ours.camt054(NOW)) == 2
    assert ours.notifications() == ours.camt054(NOW) == []
    assert len(movements(ours.statement(DAY, NOW))) == 2


def test_signed_notifications_verify_and_altered_ones_do_not() -> None:
    now = datetime.now(UTC)  # noqa: TID251, RUF100 - the library compares with the machine's clock
    content, headers = signed({"amount_minor": 1, "remittance": ["Zürich €"]}, secret=SECRET, message_id="m1", moment=now)
    assert Webhook(SECRET).verify(content, headers) == {"amount_minor": 1, "remittance": ["Zürich €"]}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(content.replace(b"1", b"2"), headers)
