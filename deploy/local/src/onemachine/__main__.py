"""`python -m onemachine`: Encours on this machine, without Docker. `--help` lists the commands."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shared.clock import machine_now
from shared.locks import exclusive

from onemachine import demo
from onemachine.errors import LocalError
from onemachine.firststeps import SCOPE, TENANT_ID, first_steps, prepare
from onemachine.infrastructure import Infrastructure
from onemachine.stack import SANDBOX, SERVICES, Stack, waiting
from onemachine.tokens import SUBJECT


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. What is wrong with the machine goes to standard error in a sentence."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.run is not _demo:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        status = options.run(options)
    except (LocalError, OSError) as error:  # the latter names the file that cannot be read or written
        print(f"onemachine: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    except KeyboardInterrupt:
        print("onemachine: interrupted; `down` stops what still runs", file=sys.stderr)  # noqa: T201 - as above
        return 130
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onemachine", description="Encours on this machine, without Docker.")
    default = Path(os.environ.get("ENCOURS_HOME", ".encours"))
    parser.add_argument("--root", type=Path, default=default, help="the data folder (default: %(default)s, or $ENCOURS_HOME)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start everything, return when it is ready, print the first steps")
    up.add_argument("--sandbox", action="store_true", help="also the simulated bank, bureau, ERP, webhook receiver and mail sink")
    up.add_argument("--services", nargs="*", choices=SERVICES, default=SERVICES, metavar="NAME", help="only these services")
    up.set_defaults(run=_up)
    main_job = commands.add_parser(
        "demo", help="the main job on a fresh stack; what follows goes to it (--json, --seed, --days, --customers)"
    )
    main_job.set_defaults(run=_demo)
    commands.add_parser("down", help="stop everything and keep the data").set_defaults(run=_down)
    commands.add_parser("status", help="each process: pid, port, whether it is ready, what it has yet to do, its log").set_defaults(
        run=_status
    )
    infra = commands.add_parser("infra", help="PostgreSQL and Kafka alone; `up` prints their addresses as shell exports")
    infra.add_argument("what", choices=["up", "down"])
    infra.set_defaults(run=_infra)
    env = commands.add_parser(
        "env", help="print as shell exports what a service is told, for its tools (`matching check`, `matching learn`)"
    )
    env.add_argument("service", choices=SERVICES, metavar="NAME")
    env.set_defaults(run=_env)
    token = commands.add_parser("token", help="print a bearer token")
    token.add_argument("--tenant", default=TENANT_ID, help="tenant id (default: that of the first steps)")
    token.add_argument("--scope", default=SCOPE, help="scopes separated by spaces (default: those of the first steps)")
    token.add_argument("--subject", default=SUBJECT, help="who it is for; another one is another person (default: %(default)s)")
    token.add_argument("--hours", type=int, default=12, help="how long it is valid (default: %(default)s)")
    token.set_defaults(run=_token)
    return parser


def _up(options: argparse.Namespace) -> None:
    stack = Stack(options.root, services=options.services, sandbox=options.sandbox)
    console = Console(stderr=True)
    with console.status("starting") as line:
        stack.up(lambda step: line.update(f"starting: {step}"))
    token = stack.issuer.token(tenant_id=TENANT_ID, scope=SCOPE, now=machine_now())
    urls = {name: stack.url(name) for name in (*stack.services, *((SANDBOX,) if stack.sandbox else ()))}
    folder = stack.root / "first-steps"
    prepare(urls, token, folder)
    print(first_steps(urls, token, folder))  # noqa: T201 - a command's answer


def _demo(options: argparse.Namespace) -> int:
    return demo.run(options.root.resolve(), options.rest)


def _down(options: argparse.Namespace) -> None:
    if options.root.exists():
        Stack(options.root).down()


def _status(options: argparse.Namespace) -> None:
    stack = _there(options)
    table = Table(title=str(options.root.resolve()))
    for heading in ("process", "pid", "port", "ready", "up for", "outbox", "lag", "log"):
        table.add_column(heading, overflow="fold")
    for status in stack.status():
        process, started = status.process, status.process.started_at
        alive = started is not None
        work = waiting(status.port) if status.ready and status.port and process.name in SERVICES else None
        table.add_row(
            process.name,
            str(process.pid or "-"),
            str(status.port or "-"),
            "[green]ready" if status.ready else "[yellow]not ready" if alive else "[red]down",
            _duration(machine_now().timestamp() - started) if started is not None else "-",
            str(work[0]) if work else "-",
            f"{work[1]:.1f} s" if work else "-",
            str(process.log.relative_to(process.root)),
        )
    Console().print(table)


def _infra(options: argparse.Namespace) -> None:
    infrastructure = Infrastructure(options.root)
    with exclusive(options.root / "lock"):
        if options.what == "down":
            infrastructure.stop()
            return
        infrastructure.start(lambda done, all_: print(f"fetching Kafka: {done} of {all_} jars", file=sys.stderr))  # noqa: T201 - progress of a command
    print(f"export KAFKA_BOOTSTRAP_SERVERS={infrastructure.bootstrap}")  # noqa: T201 - a command's answer
    print(f"export ENCOURS_POSTGRES_ADMIN_URL={infrastructure.admin_dsn}")  # noqa: T201 - as above


def _env(options: argparse.Namespace) -> None:
    stack, name = _there(options), options.service
    for variable, value in sorted(stack.decided(name, stack.provision([name])[name]).items()):
        print(f"export {variable}={shlex.quote(value)}")  # noqa: T201 - a command's answer


def _there(options: argparse.Namespace) -> Stack:
    if not options.root.exists():
        raise LocalError(f"there is no data folder {options.root}: nothing was started here")
    return Stack(options.root)


def _token(options: argparse.Namespace) -> None:
    issuer = Stack(options.root).issuer
    subject, hours = options.subject, options.hours
    print(issuer.token(tenant_id=options.tenant, scope=options.scope, now=machine_now(), subject=subject, hours=hours))  # noqa: T201 - a command's answer


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


if __name__ == "__main__":
    sys.exit(main())
