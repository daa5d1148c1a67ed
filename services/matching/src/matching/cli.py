"""The service as a value, and its tools for the command line."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from shared.service import Service

from matching import camt
from matching.api import ROUTERS
from matching.domain.statements import numbered
from matching.invariants import CHECKS
from matching.settings import MatchingSettings
from matching.tables import METADATA
from matching.worker import JOBS, ROUTES

SERVICE = Service(name="matching", settings=MatchingSettings, metadata=METADATA, routes=ROUTES, routers=ROUTERS, jobs=JOBS, checks=CHECKS)


def parse_tool(commands: "argparse._SubParsersAction[Any]") -> None:
    """`matching parse FILE...`: the entries of bank files as JSON lines, then a summary with counts and sums."""
    parser = commands.add_parser("parse", help="print the entries of bank files as JSON lines, then a summary")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.set_defaults(run=_parse)


def _parse(args: argparse.Namespace) -> int:
    """Exit status 1 when a file cannot be read or a statement of it does not add up."""
    status = 0
    for path in args.files:
        try:
            statements = camt.parse(path.read_bytes())
        except (OSError, camt.CamtError) as error:
            print(json.dumps({"file": str(path), "error": str(error)}))  # noqa: T201 - a command's answer
            status = 1
            continue
        for statement in statements:
            for key, one in numbered(one for entry in statement.entries for one in entry.transactions):
                line = {
                    "account": statement.account,
                    "statement": statement.number,
                    "identity": key,
                    "kind": one.kind,
                    "direction": "credit" if one.credit else "debit",
                    "amount_minor": one.amount_minor,
                    "currency": one.currency,
                    "booking_date": one.booking_date.isoformat(),
                    "value_date": one.value_date.isoformat(),
                    "bank_reference": one.bank_reference,
                    "end_to_end_id": one.end_to_end_id,
                    "structured_reference": one.structured_reference,
                    "remittance": one.remittance,
                    "debtor_name": one.debtor_name,
                    "debtor_iban": one.debtor_iban,
                    "virtual_iban": one.virtual_iban,
                    "return_reason": one.return_reason,
                }
                print(json.dumps(line, ensure_ascii=False))  # noqa: T201 - a command's answer
        found = camt.summary(statements)
        print(json.dumps({"file": str(path), "summary": found}, ensure_ascii=False))  # noqa: T201 - a command's answer
        status = status or int(bool(found["rejected"]))
    sys.stdout.flush()
    return status


TOOLS = (parse_tool,)
