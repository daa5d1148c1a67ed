"""The command line of every service: its roles, and tools that a service adds.

python -m NAME api | worker | relay | all      roles of a process (`all`: the three in one, for one machine)
python -m NAME migrate                         bring the database to the newest schema (the owner's role)
python -m NAME check                           the invariants, on the database; exit 1 when one does not hold
python -m NAME dead-letters [--replay] [--tenant T]
python -m NAME read-again EVENT...             read topics from their start, e.g. after offsets were lost; workers stopped
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from uuid import UUID

import uvloop
from contracts.catalogue import topics
from pydantic import ValidationError

from shared import deadletters, migrations
from shared.failures import UnavailableError
from shared.kafka import BusyGroupError, read_again
from shared.service import Service, check, make_batches, open_runtime, prepare_inbox, print_checks, run_roles
from shared.settings import Settings

ROLES = {"api": {"api"}, "worker": {"worker"}, "relay": {"relay"}, "all": {"api", "worker", "relay"}}
Tool = Callable[[argparse._SubParsersAction], None]  # type: ignore[type-arg] # noqa: SLF001 - argparse has no public name for it


def main(service: Service, argv: Sequence[str] | None = None, *, tools: Sequence[Tool] = ()) -> int:
    """Parses the command line and runs the command; returns the exit status.

    A tool adds its subparser and sets `run` on it: a function from the parsed arguments to the exit status.
    """
    parser = argparse.ArgumentParser(prog=service.name, description=(service.__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for role in ROLES:
        commands.add_parser(role, help=f"run the role {role}").set_defaults(run=lambda args: _role(service, args.command))
    commands.add_parser("migrate", help="bring the database to the newest schema").set_defaults(run=lambda _: _migrate(service))
    commands.add_parser("check", help="verify the invariants on the database").set_defaults(run=lambda _: _check(service))
    letters = commands.add_parser("dead-letters", help="list what could not be handled, or try it again")
    letters.add_argument("--replay", action="store_true", help="run them through their handlers again")
    letters.add_argument("--tenant", type=UUID, default=None)
    letters.set_defaults(run=lambda args: uvloop.run(_dead_letters(service, tenant=args.tenant, replay=args.replay)))
    again = commands.add_parser("read-again", help="read topics from their start again (stop the workers first)")
    again.add_argument("events", nargs="+", metavar="EVENT", choices=sorted(event.__name__ for event in service.routes))
    again.set_defaults(run=lambda args: asyncio.run(_read_again(service, args.events)))
    for tool in tools:
        tool(commands)
    args = parser.parse_args(argv)
    status: int = args.run(args)
    return status


def settings_of(service: Service) -> Settings:
    """The settings from the environment. Ends the process naming each variable that is missing or malformed."""
    try:
        return service.settings()
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(*map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False))
        raise SystemExit(f"{service.name}: settings: {wrong}") from None


def _variable(field: str, *within: str) -> str:
    """The environment's name of a field of the settings; one with an alias is reported by it already."""
    return ".".join((field if field.isupper() else f"ENCOURS_{field}".upper(), *within))


def _role(service: Service, role: str) -> int:
    uvloop.run(run_roles(service, settings_of(service), frozenset(ROLES[role])))
    return 0


def _migrate(service: Service) -> int:
    settings = settings_of(service)
    if settings.owner_database_url is None:
        raise SystemExit("ENCOURS_OWNER_DATABASE_URL is not set: migrations run as the role that owns the tables")
    asyncio.run(migrations.upgrade(service.name, settings.owner_database_url.get_secret_value()))
    return 0


def _check(service: Service) -> int:
    return print_checks(asyncio.run(check(service, settings_of(service))))


async def _dead_letters(service: Service, *, tenant: UUID | None, replay: bool) -> int:
    runtime = open_runtime(service, settings_of(service))
    try:
        async with runtime.database.transaction() as conn:
            found = await deadletters.waiting(conn, tenant_id=tenant)
        if not replay:
            for letter in found:
                line = {
                    "id": letter.id,
                    "event": letter.event,
                    "tenant": letter.tenant_id,
                    "parked": letter.parked,
                    "reason": letter.reason,
                }
                print(json.dumps(line, default=str))  # noqa: T201 - a command's answer
            return 0
        await prepare_inbox(runtime.database)
        batches = make_batches(runtime)
        worked = left = 0
        while found:
            done = await batches.replay(found)
            worked, left = worked + done, left + len(found) - done
            async with runtime.database.transaction() as conn:
                found = await deadletters.waiting(conn, tenant_id=tenant, after=found[-1].id)
        print(json.dumps({"replayed": worked, "left": left}))  # noqa: T201 - a command's answer
        return 1 if left else 0
    finally:
        await runtime.database.close()


async def _read_again(service: Service, names: Sequence[str]) -> int:
    settings = settings_of(service)
    prefix = settings.topic_prefix
    for name in names:  # one by one: topics differ in their number of partitions
        try:
            ahead = await read_again(
                settings.kafka_bootstrap_servers, prefix + service.name, [prefix + name], partitions=topics()[name].partitions
            )
        except (BusyGroupError, UnavailableError) as error:
            print(f"{service.name}: {name}: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
            return 1
        print(json.dumps({"event": name, "records_ahead": ahead[prefix + name]}))  # noqa: T201 - a command's answer
    return 0
