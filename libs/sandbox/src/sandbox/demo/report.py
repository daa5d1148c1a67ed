"""The figures of the report, asked from the services when the play is over.

Invariant: every figure is a service's own answer; nothing is computed here but shares. What one service cannot answer is
an error with its text, never an empty table.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.catalogue import SERVICES

from sandbox.client import Json
from sandbox.demo.play import Play
from sandbox.demo.settle import Settler
from sandbox.demo.stage import Services, Stage
from sandbox.demo.truth import Books

_MONEY_IS_IN = ("paid", "payment_in_review", "in_credit")
_CHECK_SECONDS = 300


@dataclass
class Report:
    """What is shown at the end, and printed by --json."""

    invariants: dict[str, bool | str] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    money_minor: dict[str, dict[str, int]] = field(default_factory=dict)
    items_minor: dict[str, dict[str, int]] = field(default_factory=dict)
    match_rate: float = 0.0
    match_by_rule: dict[str, int] = field(default_factory=dict)
    payments_by_status: dict[str, int] = field(default_factory=dict)
    unexplained: list[dict[str, Any]] = field(default_factory=list)
    ageing: list[dict[str, Any]] = field(default_factory=list)
    dso: list[dict[str, Any]] = field(default_factory=list)
    dso_curve: list[dict[str, Any]] = field(default_factory=list)
    reminders_sent: dict[str, int] = field(default_factory=dict)
    reminders_held: dict[str, int] = field(default_factory=dict)
    held_because_paid: dict[str, Any] | None = None
    on_hold: list[dict[str, Any]] = field(default_factory=list)
    mails: dict[str, int] = field(default_factory=dict)
    webhooks: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    dead_letters: int = 0
    not_settled: str | None = None
    seconds: float = 0.0
    seconds_by_step: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Everything holds and everything came to rest."""
        return self.not_settled is None and self.dead_letters == 0 and all(value is True for value in self.invariants.values())


async def ask(report: Report, services: Services, stage: Stage, play: Play, settler: Settler, books: Books) -> None:
    """Fills the report. Raises ApiError, UnavailableError."""
    world = play.world
    first, last = world.days[0].date, world.days[-1].date
    report.events, report.dead_letters = dict(settler.events), settler.dead_letters
    report.money_minor = {currency: dict(sums) for currency, sums in sorted(books.payments.items())}
    report.items_minor = {currency: dict(sums) for currency, sums in sorted(books.items.items())}
    report.payments_by_status = dict(books.statuses)
    looked_at = sum(books.statuses.values()) - books.statuses["returned"]
    report.match_rate = round(books.statuses["matched"] / looked_at, 4) if looked_at else 0.0
    report.match_by_rule = dict((await services.matching.get("/v1/statistics/matching"))["by_rule"])
    report.unexplained = (await services.reporting.get("/v1/reports/unapplied"))["totals"]
    report.ageing = (await services.reporting.get("/v1/reports/ageing"))["totals"]
    dso: Json = await services.reporting.get("/v1/reports/dso", **{"from": first, "to": last})
    report.dso, report.dso_curve = dso["items"], _curve(dso.get("series", []))
    await _reminders(report, services)
    report.on_hold = await _on_hold(services, play)
    mails = await services.sandbox.get("/mail", limit=0)
    report.mails = {name: mails[name] for name in ("mails", "bounced", "greylisted", "repeated")}
    partner = await services.sandbox.get(f"/receiver/{play.receiver}")
    report.webhooks = {name: partner[name] for name in ("attempts", "messages", "verified", "refused", "failed", "repeated", "types")}
    report.sent = dict(sorted(play.told.counts.items()))
    report.addresses = {name: f"{stage.urls[name]}/docs" for name in SERVICES} | {
        "mails": f"{stage.urls['sandbox']}/mail",
        "webhooks": f"{stage.urls['sandbox']}/receiver/{play.receiver}",
    }


async def _reminders(report: Report, services: Services) -> None:
    sent, held = Counter[str](), Counter[str]()
    async for reminder in services.dunning.pages("/v1/reminders"):
        if reminder["state"] == "sent":
            sent[reminder["step"]] += 1
        else:
            held[f"mail_{reminder['state']}"] += 1
    example: tuple[int, Json] | None = None
    async for decision in services.dunning.pages("/v1/held"):
        reason = decision["reason"]
        held[reason] += 1
        rank = _MONEY_IS_IN.index(reason) if reason in _MONEY_IS_IN else None
        if rank is not None and (example is None or rank < example[0]):
            example = (rank, decision)
    report.reminders_sent, report.reminders_held = dict(sent), dict(held)
    report.held_because_paid = example[1] if example else None


async def _on_hold(services: Services, play: Play) -> list[dict[str, Any]]:
    """The failing customers that are on hold, as scoring says."""
    failing = [customer for customer in play.world.customers if customer.behaviour == "failing"]
    found = []
    for customer in failing:
        credit = await services.scoring.get(f"/v1/customers/{play.erp.customer_id(customer.number)}/credit")
        if credit.get("hold"):
            found.append(
                {"customer_number": customer.number, "name": customer.party.name, "score": credit.get("score"), "hold": credit["hold"]}
            )
    return found


def _curve(series: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The daily DSO of the main currency, as measured."""
    return [{"as_of": point["as_of"], "kpi": point["kpi"], "value": point["value"]} for point in series if point.get("currency") == "EUR"]


async def check(stage: Stage) -> dict[str, bool | str]:
    """`python -m NAME check` of every service, one after the other: its invariants by `NAME.invariant`.

    A service whose check cannot be run gets one entry that says why.
    """
    found: dict[str, bool | str] = {}
    for name in SERVICES:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            name,
            "check",
            env={**os.environ, **stage.environments[name]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), _CHECK_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            found[f"{name}.check"] = f"did not end within {_CHECK_SECONDS} s"
            continue
        found |= read_check(name, out, err, process.returncode)
    return found


def read_check(name: str, out: bytes, err: bytes, status: int | None) -> dict[str, bool | str]:
    """What a check printed, by `NAME.invariant`; an unreadable answer is one entry with the end of what it said."""
    try:
        printed: Mapping[str, bool | str] = json.loads(out)
    except ValueError:
        return {f"{name}.check": f"exit {status}: {err.decode(errors='replace').strip()[-300:]}"}
    return {f"{name}.{invariant}": value if value is True else str(value) for invariant, value in printed.items()}
