"""What a newcomer is shown when everything is up: a tenant with an entity and a bank account, tokens, and five curls that work."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import httpx
from sandbox import camt, ubl
from sandbox.actions import Customer, Document, Line, Party

from onemachine.errors import LocalError

TENANT_ID = str(uuid5(NAMESPACE_URL, "urn:encours:first-steps:tenant"))
ENTITY_ID = str(uuid5(NAMESPACE_URL, "urn:encours:first-steps:entity"))
_NOUNS = "entities customers invoices bank payments credit dunning reports subscriptions events"
SCOPE = " ".join(f"{noun}:{verb}" for noun in _NOUNS.split() for verb in ("read", "write"))

_IBAN = "FR7630006000011234567890189"  # the example of the French banks' own documentation
_REFERENCE = "RF18539007547034"  # ISO 11649's example
SELLER = Party(
    name="Encours Demo SAS", country="FR", company_ids=(("0002", "732829320"),), vat_id="FR44732829320",
    street="1 rue de la Paix", postcode="75002", city="Paris",
)  # fmt: skip
BUYER = Customer(
    number="C-1001", currency="EUR", language="fr", email="billing@buyer.example", iban="DE89370400440532013000", behaviour="prompt",
    payment_terms_days=30, pays_to="account", collects=False,
    party=Party(
        name="Muster GmbH", country="DE", company_ids=(), vat_id="DE136695976", street="Hauptstrasse 1", postcode="10115", city="Berlin",
    ),
)  # fmt: skip
INVOICE = Document(
    number="INV-2026-0001", version=1, kind="invoice", origin="issued", customer_number=BUYER.number, issue_date=date(2026, 3, 2),
    currency="EUR", lines=(Line(text="Consulting", quantity=2, price_minor=50_000),), tax_bp=2000, net_minor=100_000, tax_minor=20_000,
    total_minor=120_000, prepaid_minor=0, payable_minor=120_000, instalments=((date(2026, 4, 1), 120_000),), channel="ubl",
    payment_reference=_REFERENCE,
)  # fmt: skip
ENTITY_BODY = {
    "name": SELLER.name, "country": "FR", "currency": "EUR", "vat_id": SELLER.vat_id,
    "company_ids": [{"scheme": scheme, "value": value} for scheme, value in SELLER.company_ids], "unknown_buyer": "create",
}  # fmt: skip
_DAY = date(2026, 3, 20)


def prepare(urls: Mapping[str, str], token: str, folder: Path) -> None:
    """Enters the entity and its bank account, and writes the two files that the curls post. Doing it again changes nothing."""
    headers = {"authorization": f"Bearer {token}"}
    account = {"entity_id": ENTITY_ID, "currency": "EUR", "holder_name": SELLER.name, "start_date": "2026-01-01"}
    for service, path, body in (
        ("invoicing", f"/v1/entities/{ENTITY_ID}", ENTITY_BODY),
        ("matching", f"/v1/bank-accounts/{_IBAN}", account),
    ):
        if service in urls:
            answer = httpx.put(urls[service] + path, json=body, headers=headers, trust_env=False, timeout=30)
            if answer.is_error:
                raise LocalError(f"{service} refused the first steps' data: {answer.status_code} {answer.text[:300]}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "invoice.xml").write_bytes(ubl.write(INVOICE, seller=SELLER, buyer=BUYER, account=_IBAN))
    paid = camt.Transaction(
        reference="BANK-0001", amount_minor=120_000, booking_date=_DAY, value_date=_DAY, debtor_name=BUYER.party.name,
        debtor_iban=BUYER.iban, credited_iban=_IBAN, end_to_end_id="E2E-0001", structured_reference=_REFERENCE,
    )  # fmt: skip
    statement = camt.statement(
        camt.Account(iban=_IBAN, currency="EUR", holder=SELLER.name, bic="AGRIFRPP"),
        number=1, day=_DAY, created=datetime(2026, 3, 20, 22, tzinfo=UTC), opening_minor=0,
        entries=[camt.Entry(reference=paid.reference, transactions=(paid,))],
    )  # fmt: skip
    (folder / "statement.xml").write_bytes(statement)


def first_steps(urls: Mapping[str, str], token: str, folder: Path) -> str:
    """The text for a newcomer. `urls` is service (and `sandbox`) to address, `token` a bearer token of `TENANT_ID`."""
    addresses = "\n".join(f"  {name:<10} {url}" + ("" if name == "sandbox" else f"   docs at {url}/docs") for name, url in urls.items())
    text = f"services\n{addresses}\n\ntenant     {TENANT_ID}\nentity     {ENTITY_ID}\n\nexport TOKEN={token}\n"
    text += f'\nfor a service\'s tools: eval "$(python -m onemachine --root {folder.parent} env matching)"; python -m matching check\n'
    if not {"invoicing", "matching", "partners", "sandbox"} <= urls.keys():
        return text
    auth = '-H "Authorization: Bearer $TOKEN"'
    hook = f'{{"url": "{urls["sandbox"]}/receiver/first-steps", "events": ["InvoicePaid"]}}'
    return (
        text
        + f"""
Five calls, in this order:

# 1. subscribe to InvoicePaid (the sandbox receives it)
curl -sS {auth} -H "Idempotency-Key: first-1" -H "Content-Type: application/json" -d '{hook}' {urls["partners"]}/v1/subscriptions

# 2. an invoice comes in from the ERP, as UBL 2.1
curl -sS {auth} -H "Idempotency-Key: first-2" -H "Content-Type: application/xml" --data-binary @{folder}/invoice.xml '{urls["invoicing"]}/v1/invoices/files?source_system=erp'

# 3. the bank's statement comes in, as camt.053
curl -sS {auth} -H "Idempotency-Key: first-3" -H "Content-Type: application/xml" --data-binary @{folder}/statement.xml {urls["matching"]}/v1/bank-files

# 4. the payment and what it was matched with
curl -sS {auth} {urls["matching"]}/v1/payments

# 5. InvoicePaid has arrived: in the public log, and at the subscriber
curl -sS {auth} '{urls["partners"]}/v1/events?types=InvoicePaid&wait=5'; curl -sS {urls["sandbox"]}/receiver/first-steps
"""
    )
