"""The fields that a mapping can fill, and what each holds."""

from typing import Literal

FieldType = Literal["text", "amount", "date", "number", "flag", "percent"]

INVOICE: dict[str, FieldType] = {
    "entity_id": "text",
    "source_id": "text",
    "source_version": "number",
    "invoice_number": "text",
    "kind": "text",
    "customer_number": "text",
    "customer_name": "text",
    "customer_country": "text",
    "customer_vat_id": "text",
    "issue_date": "date",
    "due_date": "date",
    "currency": "text",
    "total": "amount",
    "net": "amount",
    "tax": "amount",
    "prepaid": "amount",
    "payable": "amount",
    "instalment_due_date": "date",
    "instalment_amount": "amount",
    "payment_reference": "text",
    "payment_account": "text",
    "payee_name": "text",
    "means_of_payment": "text",
    "reference": "text",
    "order_number": "text",
    "preceding_invoice": "text",
    "discount_until": "date",
    "discount_percent": "percent",
    "open": "amount",
    "reminder_level": "number",
    "last_reminder_on": "date",
    "paid_on": "date",
}
"""Of an invoice or credit note. Without `source_id` the invoice number is it, without `source_version` it is 1, without
`kind` an invoice; `total` may be `net` plus `tax`; without `prepaid` it is 0, without `payable` total minus prepaid."""

CUSTOMER: dict[str, FieldType] = {
    "customer_number": "text",
    "name": "text",
    "company_id_scheme": "text",
    "company_id": "text",
    "vat_id": "text",
    "country": "text",
    "language": "text",
    "currency": "text",
    "payment_terms_days": "number",
    "segment": "text",
    "policy": "text",
    "requires_order_number": "flag",
    "parent_number": "text",
    "address_line_1": "text",
    "address_line_2": "text",
    "address_line_3": "text",
    "postcode": "text",
    "city": "text",
    "address_country": "text",
    "contact_role": "text",
    "contact_name": "text",
    "contact_email": "text",
    "contact_phone": "text",
    "contact_language": "text",
    "contact_consent": "flag",
    "iban": "text",
}
"""Of a customer. With `rows: line` several rows make one customer: each adds its contact, company id and IBAN."""

OF_LINES = frozenset({"total", "net", "tax", "prepaid", "payable", "open"})
"""What several rows of one invoice add up, with `rows: line`."""

OF_ROWS = frozenset({"instalment_due_date", "instalment_amount", "reference", "order_number", "preceding_invoice"})
"""What each of several rows of one invoice says of its own; all else is the same in each."""

NEEDED = {"invoices": ("customer_number", "issue_date", "currency"), "customers": ("customer_number", "name")}
REPEATED = {"reference", "order_number", "preceding_invoice"}
"""Fields that several columns may fill: their names may end in a number from 2 to 9, such as `reference_2`."""


def base_of(field: str) -> str:
    """`reference` of `reference_2`; any other field as it is."""
    base, _, number = field.rpartition("_")
    return base if base in REPEATED and number in set("23456789") else field
