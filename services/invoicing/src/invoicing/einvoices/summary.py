"""The answer of `invoicing parse`: JSON-ready, amounts in minor units as printed (signs too), keys as in the API."""

from typing import Any

import msgspec
from stdnum import iban

from invoicing.domain.einvoice import EInvoice, Finding, Party
from invoicing.einvoices.booking import Booked, account, discounts, units
from invoicing.einvoices.reading import Reading

_GRAVITY = {"fatal": 0, "warning": 1, "information": 2}


def summary(reading: Reading) -> dict[str, Any]:
    """One file. `rules` has each rule once with its gravest severity; `findings` each place."""
    obstacle = reading.booked.obstacle if reading.booked else None
    answer: dict[str, Any] = {
        "format": reading.format,
        "container": reading.container,
        "embedded": reading.embedded,
        "profile": reading.invoice.profile if reading.invoice else None,
        "profile_name": reading.profile,
        "verdict": reading.verdict,
        "rules": _rules(reading.findings),
        "rule_sets": list(reading.rule_sets),
        "findings": [
            {"rule": each.rule, "severity": each.severity, "xpath": each.xpath, "detail": each.detail} for each in reading.findings
        ],
        "reason": reading.reason or (obstacle.detail if obstacle else None),
        "sha256": reading.sha256,
        "invoice": _invoice(reading.invoice, reading.booked) if reading.invoice else None,
    }
    if reading.documents:
        answer["documents"] = [summary(each) for each in reading.documents]
    return answer


def _rules(findings: tuple[Finding, ...]) -> list[dict[str, str]]:
    gravest: dict[str, Finding] = {}
    for each in findings:
        known = gravest.get(each.rule)
        if known is None or _GRAVITY[each.severity] < _GRAVITY[known.severity]:
            gravest[each.rule] = each
    return [{"id": each.rule, "severity": each.severity, "source": each.source} for each in gravest.values()]


def _invoice(invoice: EInvoice, booked: Booked | None) -> dict[str, Any]:
    printed = account(invoice.account)
    said: dict[str, Any] = {
        "invoice_number": invoice.number,
        "kind": booked.kind if booked else "credit_note" if invoice.is_credit else "invoice",
        "type_code": invoice.type_code,
        "issue_date": invoice.issue_date,
        "due_date": invoice.due_date,
        "delivery_date": invoice.delivery_date,
        "currency": invoice.currency,
        "net_minor": units(invoice.net, invoice.currency),
        "tax_minor": units(invoice.tax, invoice.currency),
        "total_minor": units(invoice.gross, invoice.currency),
        "prepaid_minor": units(invoice.prepaid, invoice.currency),
        "rounding_minor": units(invoice.rounding, invoice.currency),
        "payable_minor": units(invoice.payable, invoice.currency),
        "instalments": booked.instalments if booked else (),
        "payment_reference": invoice.payment_reference,
        "payment_account": printed,
        "iban": printed if printed and iban.is_valid(printed) else None,
        "bic": invoice.bic,
        "payee_name": invoice.payee_name,
        "means_of_payment": invoice.means_code,
        "order_numbers": invoice.order_numbers,
        "references": invoice.references,
        "preceding_invoices": invoice.preceding,
        "discounts": discounts(invoice),
        "payment_terms": invoice.notes,
        "seller": _party(invoice.seller),
        "buyer": _party(invoice.buyer),
        "lines": len(invoice.lines),
        "booked": _booked(booked) if booked and booked.obstacle is None else None,
    }
    built: dict[str, Any] = msgspec.to_builtins(said)
    return built


def _booked(booked: Booked) -> dict[str, Any]:
    return {
        "kind": booked.kind,
        "total_minor": booked.total,
        "tax_minor": booked.tax,
        "prepaid_minor": booked.prepaid,
        "payable_minor": booked.payable,
    }


def _party(party: Party) -> dict[str, Any]:
    identifiers = [{"scheme": scheme, "value": value} for scheme, value in party.identifiers]
    return {"name": party.name, "identifiers": identifiers, "numbers": list(party.numbers), "country": party.country}
