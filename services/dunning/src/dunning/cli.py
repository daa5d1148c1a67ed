"""The service as a value, and its tools."""

import argparse
import json
import sys
from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from shared.money import parse_amount
from shared.service import Service
from shared.web.models import parse_date

from dunning.api import ROUTERS
from dunning.domain.interest import RateUnknownError, compensation_minor, segments, total_minor
from dunning.invariants import CHECKS
from dunning.settings import Settings
from dunning.tables import METADATA
from dunning.worker import JOBS, ROUTES

SERVICE = Service(name="dunning", settings=Settings, metadata=METADATA, routes=ROUTES, routers=ROUTERS, jobs=JOBS, checks=CHECKS)
_PLACES_SHOWN = 4


def interest_tool(commands: "argparse._SubParsersAction[Any]") -> None:
    """`interest`: statutory interest of one amount, as one JSON object; exit 1 where it cannot be said."""
    parser = commands.add_parser("interest", help="statutory interest for late payment, as JSON")
    parser.add_argument("--country", required=True, help="law that applies: FR")
    parser.add_argument("--amount", required=True, help="such as 10000.00, tax included")
    parser.add_argument("--currency", required=True)
    parser.add_argument("--due", required=True, type=parse_date)
    parser.add_argument("--paid", required=True, type=parse_date, help="the day of payment, which counts")
    parser.add_argument("--contract-rate", default=None, help="yearly percent the contract sets, where it sets one")
    parser.set_defaults(run=_interest)


def _interest(args: argparse.Namespace) -> int:
    try:
        answer = interest(args.country, args.amount, args.currency, args.due, args.paid, args.contract_rate)
    except (RateUnknownError, ValueError) as error:
        sys.stderr.write(f"dunning interest: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def interest(country: str, amount: str, currency: str, due: date, paid: date, contract_rate: str | None = None) -> dict[str, Any]:
    """The answer of `dunning interest`. Raises ValueError where country, amount, rate or currency cannot be used."""
    if country != "FR":
        raise ValueError(f"the law of {country!r} is unknown here: only FR is")
    principal = parse_amount(amount, currency)
    try:
        contract = None if contract_rate is None else Decimal(contract_rate)
    except InvalidOperation:
        raise ValueError("--contract-rate is a number of percent such as 15.21") from None
    if contract is not None and not contract.is_finite():
        raise ValueError("--contract-rate is a number of percent such as 15.21")
    parts = segments(principal, due=due, paid=paid, contract_percent=contract)
    return {
        "country": country,
        "currency": currency,
        "segments": [
            {
                "from": part.first.isoformat(),
                "to": part.last.isoformat(),
                "days": part.days,
                "principal_minor": part.principal_minor,
                "rate_percent": str(part.percent),
                "interest_minor": str(_shown(part.interest)),
            }
            for part in parts
        ],
        "total_minor": total_minor(parts),
        "compensation_minor": compensation_minor(currency, 1) if parts else 0,
    }


def _shown(exact: Fraction) -> Decimal:
    """A fraction to four places, for show: the total is made of the exact ones."""
    return round(Decimal(exact.numerator) / Decimal(exact.denominator), _PLACES_SHOWN)
