"""The simulated ERP: turns documents into the bodies and files that the invoicing API takes.

Invariants: a document has the same invoice id by whatever channel (its number is the ERP's id); the account printed on it is
the one that its debtor is meant to pay to.
"""

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

from shared.ids import named_id

from sandbox import cii, csvfile, facturx, ubl
from sandbox.actions import BadDocument, Channel, Customer, Document, Fault, Party
from sandbox.world import World

SOURCE_SYSTEM = "erp"
Body = dict[str, object]
_WRITERS: Mapping[Channel, Callable[..., bytes]] = {"ubl": ubl.write, "cii": cii.write, "facturx": facturx.write}


class Erp:
    """The ERP of one world, which sends as `entity_id` of `tenant_id`. `virtual_ibans` may grow while it runs."""

    def __init__(self, world: World, *, tenant_id: UUID, entity_id: UUID, virtual_ibans: Mapping[str, str]) -> None:
        self._world, self._tenant_id, self._entity_id = world, tenant_id, entity_id
        self._virtual_ibans = virtual_ibans
        """Virtual IBAN by customer number, or by the number of the invoice that has one of its own."""
        self._customers = {customer.number: customer for customer in world.customers}

    def customer_id(self, number: str) -> UUID:
        """The id that a customer has by its number."""
        return named_id("customer", self._tenant_id, SOURCE_SYSTEM, number)

    def invoice_id(self, number: str) -> UUID:
        """The id that a document has by its number."""
        return named_id("invoice", self._tenant_id, self._entity_id, SOURCE_SYSTEM, number)

    def entity(self) -> Body:
        """The seller."""
        party = self._world.seller.party
        return {
            "name": party.name,
            "country": party.country,
            "currency": "EUR",
            "vat_id": party.vat_id,
            "company_ids": _company_ids(party),
            "unknown_buyer": "create",
        }

    def customer(self, customer: Customer) -> Body:
        """A customer with its mailbox for reminders and the account it usually pays from."""
        party = customer.party
        return {
            "name": party.name,
            "company_ids": _company_ids(party),
            "vat_id": party.vat_id,
            "country": party.country,
            "language": customer.language,
            "currency": customer.currency,
            "payment_terms_days": customer.payment_terms_days,
            "address": {"lines": [party.street], "postcode": party.postcode, "city": party.city, "country": party.country},
            "contacts": [{"role": "dunning", "email": customer.email, "language": customer.language, "consent": True}],
            "known_ibans": [customer.iban],
        }

    def account_for(self, document: Document) -> str:
        """The IBAN that a document prints and its debtor pays to."""
        own = self._virtual_ibans.get(document.number) if document.own_virtual_iban else None
        return own or self._virtual_ibans.get(document.customer_number) or self._world.seller.account(document.currency)

    def invoice(self, document: Document) -> Body:
        """The JSON form."""
        optional: Body = {
            "payment_reference": document.payment_reference,
            "credited_invoice_id": str(self.invoice_id(document.credited_number)) if document.credited_number else None,
            "opening_open_minor": document.open_minor,
        }
        return {
            "entity_id": str(self._entity_id),
            "source_system": SOURCE_SYSTEM,
            "source_id": document.number,
            "source_version": document.version,
            "invoice_number": document.number,
            "kind": document.kind,
            "origin": document.origin,
            "customer_number": document.customer_number,
            "issue_date": document.issue_date.isoformat(),
            "currency": document.currency,
            "total_minor": document.total_minor,
            "tax_minor": document.tax_minor,
            "prepaid_minor": document.prepaid_minor,
            "payable_minor": document.payable_minor,
            "instalments": [
                {"number": number, "due_date": due.isoformat(), "amount_minor": amount}
                for number, (due, amount) in enumerate(document.instalments, 1)
            ],
            "payment_account": self.account_for(document),
            "order_numbers": [document.order_number] if document.order_number else [],
            **{name: value for name, value in optional.items() if value is not None},
        }

    def ubl(self, document: Document, fault: Fault | None = None) -> bytes:
        """The UBL 2.1 form, spoiled by `fault`."""
        return self._written(ubl.write, document, fault)

    def file(self, document: Document, fault: Fault | None = None) -> bytes:
        """The form of the channel that the document takes, spoiled by `fault`."""
        return self._written(_WRITERS[document.channel], document, fault)

    def csv_mapping(self) -> Body:
        """How its CSV files are written, for POST /v1/import-mappings."""
        return csvfile.mapping(SOURCE_SYSTEM, self._entity_id)

    def csv(self, documents: Iterable[Document]) -> bytes:
        """A CSV file of documents that are due as a whole."""
        return csvfile.write(documents, self.account_for)

    def _written(self, write: Callable[..., bytes], document: Document, fault: Fault | None) -> bytes:
        seller = self._world.stranger if fault == "unknown_seller" else self._world.seller.party
        buyer = self._customers[document.customer_number]
        return write(document, seller=seller, buyer=buyer, account=self.account_for(document), fault=fault)

    def bad_invoice(self, bad: BadDocument) -> Body:
        """The JSON form of a document that must be refused."""
        body = self.invoice(bad.document)
        match bad.fault:
            case "bad_sum":
                body["total_minor"] = bad.document.total_minor + 1
            case "missing_field":
                del body["invoice_number"]
            case "unknown_seller":
                body["entity_id"] = str(named_id("entity", self._tenant_id, self._world.stranger.vat_id))
        return body


def _company_ids(party: Party) -> list[dict[str, str]]:
    return [{"scheme": scheme, "value": value} for scheme, value in party.company_ids]
