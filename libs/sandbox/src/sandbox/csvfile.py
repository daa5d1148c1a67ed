"""Invoices as an ERP exports them to CSV: one row each, semicolons, decimal commas, days as DD.MM.YYYY, credit notes negative.

`mapping` is what its user writes once for POST /v1/import-mappings, so that POST /v1/imports reads such a file.
"""

import csv
import io
from collections.abc import Callable, Iterable
from datetime import date
from uuid import UUID

from shared.money import format_amount

from sandbox.actions import Document

_TYPES = {"invoice": "RV", "credit_note": "RG"}
_COLUMNS = {
    "entity_id": "Company",
    "invoice_number": "Document",
    "source_version": "Version",
    "kind": "Type",
    "customer_number": "Customer",
    "issue_date": "Date",
    "due_date": "Due",
    "currency": "Currency",
    "total": "Gross",
    "tax": "Tax",
    "prepaid": "Prepaid",
    "payment_reference": "Reference",
    "payment_account": "Account",
    "order_number": "Order",
    "preceding_invoice": "Credits",
}
_COMPANY = "1000"


def mapping(source_system: str, entity_id: UUID) -> dict[str, object]:
    """How these files are written, as the body of POST /v1/import-mappings/{name}."""
    fields: dict[str, dict[str, object]] = {name: {"column": column} for name, column in _COLUMNS.items()}
    fields["entity_id"]["values"] = {_COMPANY: str(entity_id)}
    fields["kind"]["values"] = {code: kind for kind, code in _TYPES.items()}
    return {
        "kind": "invoices",
        "source_system": source_system,
        "file": {"separator": ";"},
        "numbers": {"decimal": ","},
        "dates": ["DD.MM.YYYY"],
        "signs": "signed",
        "fields": fields,
    }


def write(documents: Iterable[Document], account_for: Callable[[Document], str]) -> bytes:
    """The file of some documents; `account_for` gives the IBAN that each prints. Each is due as a whole on one day."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, delimiter=";")
    rows.writerow(_COLUMNS.values())
    for document in documents:
        sign = -1 if document.kind == "credit_note" else 1
        rows.writerow(
            [
                _COMPANY,
                document.number,
                document.version,
                _TYPES[document.kind],
                document.customer_number,
                _day(document.issue_date),
                _day(document.due_date) if document.kind == "invoice" else "",
                document.currency,
                _amount(sign * document.total_minor, document.currency),
                _amount(sign * document.tax_minor, document.currency),
                _amount(sign * document.prepaid_minor, document.currency),
                document.payment_reference or "",
                account_for(document),
                document.order_number or "",
                document.credited_number or "",
            ]
        )
    return text.getvalue().encode()


def _day(day: date) -> str:
    return f"{day:%d.%m.%Y}"


def _amount(minor: int, currency: str) -> str:
    return format_amount(minor, currency).replace(".", ",")
