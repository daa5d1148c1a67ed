"""The service as a value, and `invoicing parse`: what the API would say of a file, without a running stack."""

import argparse
import json
from pathlib import Path

from shared.service import Service

from invoicing import files
from invoicing.api import ROUTER
from invoicing.invariants import CHECKS
from invoicing.settings import InvoicingSettings
from invoicing.tables import METADATA
from invoicing.worker import JOBS, ROUTES

SERVICE = Service(
    name="invoicing",
    settings=InvoicingSettings,
    metadata=METADATA,
    routes=ROUTES,
    routers=(ROUTER,),
    jobs=JOBS,
    checks=CHECKS,
)


def parse_tool(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `invoicing parse FILE...`."""
    parser = commands.add_parser("parse", help="print what e-invoices say and whether they hold, one JSON object a file")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.set_defaults(run=_parse)


def _parse(args: argparse.Namespace) -> int:
    for path in args.files:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SystemExit(f"invoicing: {path}: {error.strerror}") from None
        print(json.dumps({"file": str(path), **files.summary(files.read(data))}, ensure_ascii=False))  # noqa: T201 - a command's answer
    return 0
