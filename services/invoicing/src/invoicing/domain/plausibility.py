"""An e-invoice's arithmetic, computed again from what it prints.

Where EN 16931's own rules judge a file they decide its sums (BR-CO-10 to BR-CO-17); these checks add what the norm does not
compute, the net amount of a line, and stand in for the norm where a profile is outside it (ZUGFeRD 1.0, Factur-X MINIMUM,
BASIC WL and EXTENDED). A line may differ by two hundredths (as in Peppol's
PEPPOL-EN16931-R120), a sum by one cent for each of its parts: that is rounding, and stays unsaid.

Rules (all `encours`):
  ENC-LINE-AMOUNT  quantity x net price / base quantity, with the line's allowances and charges, is not the line's amount
  ENC-SUM-LINES    the lines do not make the sum of the lines (BT-106)
  ENC-SUM-NET      sum of lines - allowances + charges is not the total without VAT (BT-109)
  ENC-SUM-TAX      the VAT by category does not make the VAT total (BT-110)
  ENC-SUM-GROSS    total without VAT + VAT is not the total with VAT (BT-112)
  ENC-SUM-DUE      total with VAT - paid + rounding is not the amount due (BT-115)
"""

from collections.abc import Iterator
from decimal import Decimal

from invoicing.domain.einvoice import EInvoice, Finding, Portion, Severity

_CENT = Decimal("0.01")
_SLACK = Decimal("0.02")
_ZERO = Decimal(0)


def arithmetic(invoice: EInvoice, *, sums: Severity | None = None) -> list[Finding]:
    """What does not add up. `sums` asks for the sums too, at that severity; lines are warnings."""
    return [*_lines(invoice), *(_sums(invoice, sums) if sums else ())]


def _lines(invoice: EInvoice) -> Iterator[Finding]:
    for line in invoice.lines:
        if line.amount is None or line.quantity is None or line.price is None or line.base == _ZERO:
            continue
        made = line.quantity * line.price / (line.base or Decimal(1)) + line.adjustment
        if abs(abs(made) - abs(line.amount)) > _SLACK:
            yield Finding(
                "ENC-LINE-AMOUNT", line.xpath, "is not quantity x price / base quantity with its allowances and charges", "warning"
            )


def _sums(invoice: EInvoice, severity: Severity) -> Iterator[Finding]:
    allowances, charges = invoice.allowance_total or _ZERO, invoice.charge_total or _ZERO
    tax = invoice.tax or _ZERO
    taxes = [each.tax for each in invoice.taxes if each.tax is not None]
    cents = _CENT * max(1, len(invoice.lines))
    for rule, said, made, allowed, what in (
        ("ENC-SUM-LINES", invoice.line_total, _amounts(invoice.lines), cents, "the lines do not make the sum of the lines"),
        (
            "ENC-SUM-NET",
            invoice.net,
            None if invoice.line_total is None else invoice.line_total - allowances + charges,
            _CENT,
            "lines - allowances + charges is not the total without VAT",
        ),
        ("ENC-SUM-TAX", invoice.tax, sum(taxes, _ZERO) if taxes else None, cents, "the VAT by category does not make the VAT"),
        ("ENC-SUM-GROSS", invoice.gross, None if invoice.net is None else invoice.net + tax, _CENT, "net + VAT is not the total"),
        (
            "ENC-SUM-DUE",
            invoice.payable,
            None
            if invoice.gross is None or (invoice.prepaid is None and invoice.rounding is None)
            else invoice.gross - (invoice.prepaid or _ZERO) + (invoice.rounding or _ZERO),
            _CENT,
            "the total - paid + rounding is not the amount due",
        ),
    ):
        if said is not None and made is not None and abs(said - made) >= allowed:
            yield Finding(rule, f"/{invoice.root}", what, severity)


def _amounts(portions: tuple[Portion, ...]) -> Decimal | None:
    amounts = [portion.amount for portion in portions]
    return None if not amounts or None in amounts else sum(filter(None, amounts), _ZERO)
