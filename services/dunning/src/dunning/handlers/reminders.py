"""The run of a business day: who is reminded of what, decided once per customer, entity, currency and day.

Rules (with `domain.policy` and `domain.reminder`):
- an entity's run of day D starts once its gate is open through D - `gate_lag_days`, and is done when all its customers with
  an instalment due for a step are decided; nothing more is decided for it on that day;
- days that were missed are not made up for one by one: what is due is looked at once, as of today;
- one mail per customer, entity and currency, at the highest level of its lines; each line reaches the level it is due for.

Invariant: a decision is stored with its inputs (ids, versions, amounts), the levels it takes and the mail it plans, in one
transaction under the locks of what it read; nothing leaves the house here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from shared.clock import machine_now
from shared.days import business_day
from shared.ids import named_id
from shared.jobs import JobContext
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from dunning.domain.interest import RateUnknownError, compensation_minor, segments, total_minor
from dunning.domain.lifecycle import SUSPENDED
from dunning.domain.plan import Standing
from dunning.domain.policy import due_dates, due_step
from dunning.domain.reminder import Collection, Decision, Line, Planned, Promise, Situation, decide
from dunning.handlers import plans, promises
from dunning.handlers.disputes import contested_minor
from dunning.handlers.policies import Policy, policy_of
from dunning.letters import FORMAL_NOTICE, Language, Letter, LetterLine, language_of, message_id, recipient_of, render
from dunning.storage import dispatches as dispatch_storage
from dunning.storage import gate as gates
from dunning.storage import reminders as storage

SLICE = 200
"""Customers decided in one transaction."""
INSOLVENCY = frozenset({"insolvency", "insolvent"})
"""Reasons of a credit hold that say a court protects the debtor."""

Debtor = tuple[UUID, str]
"""Customer and currency."""


async def run_day(context: JobContext, tenant_id: UUID) -> None:
    """The job: runs today for every entity whose gate allows it and whose run is not done."""
    today = business_day(context.now)
    async with context.database.transaction(tenant_id) as conn:
        policy = await policy_of(conn, tenant_id)
        if not policy.active_on(today):
            return
        done = await storage.runs(conn, tenant_id, today)
        ready = [entity for entity in await storage.entities(conn, tenant_id) if entity not in done]
        open_through = await gates.gates(conn, tenant_id) if ready else {}
        ready = [entity for entity in ready if (gate := open_through.get(entity)) and gate >= needed_gate(policy, today)]
        if ready:
            await dispatch_storage.withdraw_stale(conn, tenant_id, today)
    for entity in ready:
        await _run_entity(context, tenant_id, entity, today, policy)


def needed_gate(policy: Policy, today: date) -> date:
    """The day through which the bank's word must be known for reminders of a day."""
    return today - timedelta(days=policy.gate_lag_days)


async def _run_entity(context: JobContext, tenant_id: UUID, entity_id: UUID, today: date, policy: Policy) -> None:
    async with context.database.transaction(tenant_id) as conn:
        waiting = await due_lines(conn, tenant_id, policy, today, entity_id)
        for debtor in await storage.decided_today(conn, tenant_id, today, entity_id):
            waiting.pop((entity_id, *debtor), None)
    everyone = sorted(waiting)
    for start in range(0, len(everyone) or 1, SLICE):
        chunk = everyone[start : start + SLICE]
        async with context.database.transaction(tenant_id) as conn:
            gate = (await gates.gates(conn, tenant_id)).get(entity_id)
            if gate is None or gate < needed_gate(policy, today):
                return  # it fell shut meanwhile: the run goes on when it opens
            if chunk:
                day = Day(tenant_id, entity_id, today, gate, policy, context.now)
                await _decide(conn, day, {(key[1], key[2]): waiting[key] for key in chunk})
            if start + SLICE >= len(everyone):
                await storage.finish_run(conn, tenant_id, today, entity_id, gate, context.now)


async def due_lines(
    conn: AsyncConnection, tenant_id: UUID, policy: Policy, today: date, entity_id: UUID | None = None
) -> dict[tuple[UUID, UUID, str], list[Line]]:
    """Instalments due for a step today by (entity, customer, currency); their amounts and versions are not read yet."""
    found: dict[tuple[UUID, UUID, str], list[Line]] = {}
    if policy.enabled_from is None or (window := due_dates(policy.steps, today=today, enabled_from=policy.enabled_from)) is None:
        return found
    for row in await storage.candidates(conn, tenant_id, window, entity_id):
        step = due_step(policy.steps, due=row.due_date, today=today, enabled_from=policy.enabled_from, reached=row.reached)
        if step:
            line = Line(row.item_id, row.number, step.level, step.code, "", row.due_date, row.due_date, 0, 0, 0)
            found.setdefault((row.entity_id, row.customer_id, row.currency), []).append(line)
    return found


@dataclass(frozen=True, slots=True)
class Day:
    """What is common to the decisions of one entity's run."""

    tenant_id: UUID
    entity_id: UUID
    today: date
    gate: date
    policy: Policy
    now: datetime


@dataclass(frozen=True, slots=True)
class Case:
    """One debtor's situation, and what a letter to him needs beside it."""

    situation: Situation
    recipient: str | None
    language: Language
    pay_to: Mapping[tuple[UUID, int], Row[Any]]
    inputs: Mapping[str, Any]


async def cases(
    conn: AsyncConnection, tenant_id: UUID, entity_id: UUID, policy: Policy, lines: Mapping[Debtor, Sequence[Line]]
) -> dict[Debtor, Case]:
    """The situations of some debtors, read under lock."""
    facts = await storage.facts(
        conn, tenant_id, entity_id, [customer for customer, _ in lines], [line.item_id for each in lines.values() for line in each]
    )
    _, progress = await promises.progress_of(conn, tenant_id, facts.promises) if facts.promises else ({}, {})
    read = _Read(
        facts,
        {row.item_id: row for row in facts.items},
        {(row.item_id, row.number): row for row in facts.instalments},
        progress,
        await plans.standings(conn, tenant_id, facts.plans),
    )
    people = {row.customer_id: row for row in facts.customers}
    return {debtor: _case(read, debtor, people[debtor[0]], wanted, policy) for debtor, wanted in lines.items()}


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of some debtors: rows, items and instalments by their keys, what came of each promise, how each plan stands."""

    facts: storage.Facts
    items: Mapping[UUID, Row[Any]]
    instalments: Mapping[tuple[UUID, int], Row[Any]]
    progress: Mapping[UUID, int]
    standings: Mapping[UUID, Standing]

    def lines(self, debtor: Debtor, wanted: Sequence[Line]) -> tuple[Line, ...]:
        """The lines as their items are now; those that are no longer the debtor's are left out."""
        return tuple(
            _line(line, item, instalment)
            for line in wanted
            if (instalment := self.instalments.get((line.item_id, line.instalment))) is not None
            and _is_of(item := self.items[line.item_id], debtor)
        )

    def contested(self, lines: Sequence[Line]) -> dict[UUID, int]:
        amounts = {line.item_id: contested_minor(self.items[line.item_id], self.facts.disputes) for line in lines}
        return {item_id: amount for item_id, amount in amounts.items() if amount}

    def promises(self, debtor: Debtor) -> tuple[Promise, ...]:
        return tuple(
            Promise(row.promise_id, row.version, tuple(row.item_ids), max(0, row.amount_minor - self.progress[row.promise_id]))
            for row in self.facts.promises
            if _is_of(row, debtor)
        )

    def collections(self, debtor: Debtor) -> tuple[Collection, ...]:
        return tuple(each for row in self.facts.announcements if _is_of(row, debtor) for each in _collections(row))

    def plans(self, debtor: Debtor, lines: Sequence[Line]) -> tuple[Planned, ...]:
        due = {line.item_id for line in lines}
        return tuple(
            Planned(row.payment_plan_id, row.version, item_id, unpaid)
            for row in self.facts.plans
            if (row.debtor_id, row.currency) == debtor and plans.lives(row, self.standings[row.payment_plan_id])
            for item_id, unpaid in self.standings[row.payment_plan_id].unpaid.items()
            if unpaid and item_id in due
        )


def _is_of(row: Row[Any], debtor: Debtor) -> bool:
    return (row.customer_id, row.currency) == debtor


def _case(read: _Read, debtor: Debtor, who: Row[Any], wanted: Sequence[Line], policy: Policy) -> Case:
    """A debtor's situation; `who` is the customer."""
    contact = recipient_of(who.contacts or ())
    accounts = [row for row in read.facts.balances if _is_of(row, debtor)]
    lines = read.lines(debtor, wanted)
    situation = Situation(
        lines=lines,
        contested_minor=read.contested(lines),
        promises=read.promises(debtor),
        in_review=tuple((row.payment_id, row.version) for row in read.facts.payments if who.customer_id in row.customer_ids),
        credit_minor=sum(row.credit_minor for row in accounts),
        insolvent=bool(who.held and who.hold_reason in INSOLVENCY),
        reachable=contact is not None,
        minimum_minor=policy.minimum_minor.get(debtor[1], 0),
        collections=read.collections(debtor),
        plans=read.plans(debtor, lines),
        suspended=tuple(dict.fromkeys(line.item_id for line in lines if read.items[line.item_id].outside_status == SUSPENDED)),
    )
    versions = {
        "accounts": [[row.account_id, row.version] for row in accounts],
        "customer_version": who.version,
        "identity_version": who.identity_version,
        "hold_version": who.hold_version,
        "band": who.band,
    }
    language = language_of(contact.get("language") if contact else None, who.language, country=who.country)
    inputs = {**asdict_situation(situation), **versions}
    return Case(situation, contact["email"] if contact else None, language, read.instalments, inputs)


def _collections(row: Row[Any]) -> list[Collection]:
    """What is on its way: for named items, and what is left of it for anything that is owed."""
    found = [Collection(row.announcement_id, row.version, UUID(each["item_id"]), each["amount_minor"]) for each in row.items]
    rest = row.amount_minor - sum(each.amount_minor for each in found)
    return found if found or not rest else [Collection(row.announcement_id, row.version, None, rest)]


def _line(line: Line, item: Row[Any], instalment: Row[Any]) -> Line:
    open_minor = instalment.open_minor if item.status == "open" else 0
    return Line(
        line.item_id,
        line.instalment,
        line.level,
        line.step,
        item.invoice_number,
        item.issue_date,
        instalment.due_date,
        item.version,
        open_minor,
        0,
    )


async def _decide(conn: AsyncConnection, day: Day, waiting: Mapping[Debtor, Sequence[Line]]) -> None:
    """Decides some debtors, stores the decisions, takes the levels and plans the mails."""
    found = await cases(conn, day.tenant_id, day.entity_id, day.policy, waiting)
    rows, going = [], []
    for (customer_id, currency), case in sorted(found.items()):
        decision = decide(case.situation)
        reminder_id = named_id("reminder", day.tenant_id, day.entity_id, customer_id, currency, day.today)
        top = max(decision.lines, key=lambda line: line.level, default=None)
        outcome = "held" if decision.held else "send"
        asked = [asdict(line) for line in decision.lines]
        step = (top.step, top.level) if top else (None, None)
        inputs = storage.to_json(case.inputs)
        rows.append((customer_id, currency, reminder_id, outcome, decision.held, *step, inputs, storage.to_json(asked)))
        if top:
            going.append((reminder_id, customer_id, currency, case, decision))
    common = {
        "tenant": day.tenant_id,
        "day": day.today,
        "entity": day.entity_id,
        "policy": day.policy.version,
        "as_of": needed_gate(day.policy, day.today),
        "gate": day.gate,
        "now": day.now,
    }
    new = await storage.store_decisions(conn, common, rows)
    if going := [each for each in going if each[0] in new]:
        taken = [(line.item_id, line.instalment, line.level, each[0]) for each in going for line in each[4].lines]
        await storage.reach(conn, day.tenant_id, taken)
        # 2 ms each, most of it in the library that writes mails: not on the loop that the consumers live on
        mails = await asyncio.to_thread(lambda: [_mail(day, *each) for each in going])
        await storage.plan(conn, day.tenant_id, machine_now(), mails)


def _mail(day: Day, reminder_id: UUID, customer_id: UUID, currency: str, case: Case, decision: Decision) -> tuple[Any, ...]:
    """The planned mail of a decision, as `storage.plan` takes it."""
    top = max(decision.lines, key=lambda line: line.level)
    template = next(step.template for step in day.policy.steps if step.code == top.step)
    interest, compensation = _late_charges(decision, currency, day.today) if template == FORMAL_NOTICE else (None, None)
    recipient = case.recipient or ""
    letter = Letter(
        reminder_id=reminder_id,
        template=template,
        language=case.language,
        sender_name=day.policy.sender_name,
        sender_email=day.policy.sender_email,
        recipient=recipient,
        currency=currency,
        lines=[
            LetterLine(line.invoice_number, line.issue_date, line.due_date, line.asked_minor, pay.payment_reference, pay.account)
            for line in decision.lines
            for pay in [case.pay_to[(line.item_id, line.instalment)]]
        ],
        interest_minor=interest,
        compensation_minor=compensation,
        as_of=day.gate,
        today=day.today,
        decided_at=day.now,
    )
    mail = render(letter)
    return reminder_id, customer_id, message_id(reminder_id, day.policy.sender_email), recipient, mail, interest or 0, compensation or 0


def _late_charges(decision: Decision, currency: str, today: date) -> tuple[int | None, int | None]:
    """Interest on what is asked up to today, and the compensation; None where no amount can be stated."""
    late = [line for line in decision.lines if line.due_date < today]
    try:
        interest = sum(total_minor(segments(line.asked_minor, due=line.due_date, paid=today)) for line in late)
    except RateUnknownError:
        return None, compensation_minor(currency, len({line.item_id for line in late}))
    return interest, compensation_minor(currency, len({line.item_id for line in late}))


def asdict_situation(situation: Situation) -> dict[str, Any]:
    """A situation for its jsonb column; `situation_of` is the inverse."""
    return {**asdict(situation), "contested_minor": {str(item): amount for item, amount in situation.contested_minor.items()}}


def situation_of(inputs: Mapping[str, Any]) -> Situation:
    """The situation that a stored decision was taken on: deciding it again gives the same."""
    return Situation(
        lines=tuple(_stored_line(line) for line in inputs["lines"]),
        contested_minor={UUID(item): amount for item, amount in inputs["contested_minor"].items()},
        promises=tuple(
            Promise(UUID(each["promise_id"]), each["version"], tuple(map(UUID, each["item_ids"])), each["missing_minor"])
            for each in inputs["promises"]
        ),
        in_review=tuple((UUID(payment), version) for payment, version in inputs["in_review"]),
        credit_minor=inputs["credit_minor"],
        insolvent=inputs["insolvent"],
        reachable=inputs["reachable"],
        minimum_minor=inputs["minimum_minor"],
        collections=tuple(
            Collection(UUID(each["announcement_id"]), each["version"], each["item_id"] and UUID(each["item_id"]), each["amount_minor"])
            for each in inputs.get("collections", ())
        ),
        suspended=tuple(UUID(item) for item in inputs.get("suspended", ())),
        plans=tuple(
            Planned(UUID(each["payment_plan_id"]), each["version"], UUID(each["item_id"]), each["unpaid_minor"])
            for each in inputs.get("plans", ())
        ),
    )


def _stored_line(line: Mapping[str, Any]) -> Line:
    dates = {name: date.fromisoformat(line[name]) for name in ("issue_date", "due_date")}
    return Line(**{**line, **dates, "item_id": UUID(line["item_id"])})


def same_lines(stored: Sequence[Mapping[str, Any]], decision: Decision) -> bool:
    """Whether a decision still asks exactly what was stored."""
    now = {(line.item_id, line.instalment): line.asked_minor for line in decision.lines}
    return now == {(UUID(line["item_id"]), line["instalment"]): line["asked_minor"] for line in stored}
