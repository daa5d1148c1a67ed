"""The service as a value, and its tool `rebuild`."""

import argparse

import uvloop
from shared.cli import settings_of
from shared.service import Service

from reporting.api import ROUTERS
from reporting.invariants import CHECKS
from reporting.rebuild import rebuild
from reporting.settings import Settings
from reporting.tables import METADATA
from reporting.worker import JOBS, ROUTES

SERVICE = Service(
    name="reporting",
    settings=Settings,
    metadata=METADATA,
    routes=ROUTES,
    routers=ROUTERS,
    jobs=JOBS,
    checks=CHECKS,
)


def add_rebuild(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`rebuild`: the read models anew from the topics, beside the running service."""
    parser = commands.add_parser("rebuild", help="build the read models anew from the topics, then put them in place or compare them")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--compare", action="store_true", help="change nothing: print the differences, exit 1 where there are any")
    parser.set_defaults(run=lambda args: uvloop.run(rebuild(settings_of(SERVICE), compare=args.compare)))
