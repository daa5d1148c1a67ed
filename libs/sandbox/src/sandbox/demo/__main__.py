"""`python -m sandbox.demo`: the main job. The services run already; ENCOURS_SERVICES_FILE says where (see `stage.py`).

    --seed N --days N --customers N --invoices N     the world (defaults: 1, 90, 300, 5,000 in proportion)
    --settle SECONDS                                 how long any one wait may take
    --json                                           progress on standard error, one JSON object on the last line of standard output

Exit status: 0 when all invariants hold and everything came to rest, 1 otherwise, 2 when it could not be started.
"""

import argparse
import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from shared.clock import monotonic

from sandbox.client import ApiError, UnavailableError
from sandbox.demo.play import Play
from sandbox.demo.report import Report, ask, check
from sandbox.demo.settle import NotSettledError, Settler
from sandbox.demo.stage import Services, Stage, StageError, read_stage
from sandbox.demo.truth import compare, read_books
from sandbox.demo.view import Picture, show
from sandbox.world import World, generate

_LOOKED_AT_AGAIN_SECONDS = 2.5  # matching looks at what ended unmatched again after 2 s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the main job; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description="Months of a company's receivables, played and checked.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--customers", type=int, default=300)
    parser.add_argument("--invoices", type=int, default=None)
    parser.add_argument("--settle", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        stage = read_stage(os.environ)
        world = generate(seed=options.seed, days=options.days, customers=options.customers, invoices=options.invoices)
    except (StageError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 2
    console = Console(stderr=options.json)
    report = asyncio.run(perform(world, stage, console, settle_seconds=options.settle))
    show(report, console)
    if options.json:
        print(json.dumps(dataclasses.asdict(report), default=str), flush=True)  # noqa: T201 - as above
    return 0 if report.good else 1


async def perform(world: World, stage: Stage, console: Console, *, settle_seconds: float) -> Report:
    """Play the world on the stage and report. What did not settle, or was unavailable, is in the report with the checks that still ran."""
    started, report = monotonic(), Report()
    async with Services(stage) as services:
        settler = Settler(services, seconds=settle_seconds)
        play = Play(world, stage, services, settler)
        try:
            await _play(play, services, settler, console, report)
            books = await read_books(services)
            report.invariants |= compare(books, play)
            await ask(report, services, stage, play, settler, books)
        except (NotSettledError, ApiError, UnavailableError) as error:
            report.not_settled = f"{type(error).__name__}: {error}"
            report.events, report.sent = dict(settler.events), dict(play.told.counts)
            report.invariants["sandbox.play_came_to_its_end"] = report.not_settled
        report.invariants |= await check(stage)
    report.seconds = round(monotonic() - started, 1)
    return report


async def _play(play: Play, services: Services, settler: Settler, console: Console, report: Report) -> None:
    picture = Picture(play, settler, len(play.world.days))
    await settler.begin()
    since = monotonic()

    def tick(step: str) -> None:
        nonlocal since
        spent = report.seconds_by_step.get(picture.step, 0.0) + monotonic() - since
        report.seconds_by_step[picture.step] = round(spent, 2)
        picture.step, since = step, monotonic()

    with Live(picture, console=console, refresh_per_second=4, transient=True):
        await play.open()
        await settler.quiet("customers and accounts")
        for picture.index, day in enumerate(play.world.days):
            await play.play(day, tick)
            picture.money = (await services.reporting.get("/v1/reports/money"))["payments"]
            picture.mails = await services.sandbox.get("/mail", limit=0)
        tick("what stayed unmatched is looked at once more")
        await asyncio.sleep(_LOOKED_AT_AGAIN_SECONDS)
        await settler.quiet("the last look")
        tick("the end")


if __name__ == "__main__":
    sys.exit(main())
