"""The service as a value, and `invoicing parse`: what the API would say of a file, without a running stack."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from shared.jars import JarError
from shared.service import Service

from invoicing.api import ROUTER
from invoicing.einvoices.pool import ReaderPool
from invoicing.einvoices.summary import summary
from invoicing.einvoices.xmlfile import MAX_BYTES
from invoicing.invariants import CHECKS
from invoicing.settings import InvoicingSettings
from invoicing.tables import METADATA
from invoicing.worker import JOBS, ROUTES, watch_drops

SERVICE = Service(
    name="invoicing",
    settings=InvoicingSettings,
    metadata=METADATA,
    routes=ROUTES,
    routers=(ROUTER,),
    jobs=JOBS,
    checks=CHECKS,
    background=(watch_drops,),
)


def parse_tool(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `invoicing parse FILE...`."""
    parser = commands.add_parser("parse", help="print what e-invoices say and whether they hold, one JSON object a file")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.set_defaults(run=_parse)


def _parse(args: argparse.Namespace) -> int:
    for path in args.files:
        if not path.is_file():
            raise SystemExit(_unusable(path, "is no file"))
    try:
        with ReaderPool(min(len(args.files), len(os.sched_getaffinity(0)))) as pool:
            for path, reading in zip(args.files, pool.read_all(_contents(args.files)), strict=True):
                print(json.dumps({"file": str(path), **summary(reading)}, ensure_ascii=False), flush=True)  # noqa: T201 - a command's answer
    except JarError as error:
        print(f"invoicing: the official rules are not on this machine and cannot be fetched: {error}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


def _contents(paths: list[Path]) -> Iterator[bytes]:
    """The files' bytes, one file at a time; of a file beyond the bound only so much that it is seen to be."""
    for path in paths:
        try:
            with path.open("rb") as file:
                yield file.read(MAX_BYTES + 1)
        except OSError as error:
            raise SystemExit(_unusable(path, error.strerror or "cannot be read")) from None


def _unusable(path: Path, why: str) -> int:
    print(f"invoicing: {path}: {why}", file=sys.stderr)  # noqa: T201 - a command's answer
    return 2
