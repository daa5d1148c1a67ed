"""What a service looks for several times a second it asks for all of its tenants at once, by an index, and misses nobody."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from dunning.cli import SERVICE as DUNNING
from invoicing.cli import SERVICE as INVOICING
from matching.cli import SERVICE as MATCHING
from partners.cli import SERVICE as PARTNERS
from partners.storage import DELIVERY_DUE
from reporting.cli import SERVICE as REPORTING
from scoring.cli import SERVICE as SCORING
from scoring.storage.bureau import DUE as BUREAU_DUE
from shared.db import Database
from shared.ids import new_id
from shared.jobs import tenants_due
from shared.service import Service
from shared.testing.databases import fresh_database
from shared.testing.fixtures import Infrastructure
from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql

SERVICES = {one.name: one for one in (DUNNING, INVOICING, MATCHING, PARTNERS, REPORTING, SCORING)}
NOW, DAY = datetime(2026, 3, 2, 12, tzinfo=UTC), date(2026, 3, 2)
ONE, OTHER = UUID(int=1), UUID(int=2)
ACCOUNT, ENTITY, THING = UUID(int=11), UUID(int=12), UUID(int=13)
Rows = list[tuple[str, dict[str, Any]]]
BANK = {"bank_account_id": ACCOUNT, "entity_id": ENTITY, "status": "active"}
MONEY = {"confirmation": "booked", "status": "unapplied", "amount_minor": 1, "unapplied_minor": 1}
OPEN = {"original_minor": 1, "open_minor": 1}
DUE: dict[tuple[str, str], list[Rows]] = {
    ("matching", "look_again"): [[("payment", {"next_look_at": NOW, **MONEY})]],
    ("matching", "move_merged"): [[("alias", {})]],
    ("matching", "import_statements"): [[("statement", {"verdict": "importing"})]],
    ("matching", "meet_late"): [
        [("dispute", {})],
        [("open_item", {"kind": "credit_note", "status": "open", "credited_item_id": THING, **OPEN})],
    ],
    ("matching", "expire_announcements"): [
        [("expected_payment", {"kind": "cheque", "status": "waiting", "holds_until": date(2026, 3, 1)})],
    ],
    ("matching", "reconcile"): [
        [("bank_account", {**BANK, "iban": "x"}), ("statement", {"verdict": "booked", "role": "statement", "bank_account_id": ACCOUNT})],
        [("reconciliation", {"next_booked_through": DAY})],
    ],
    ("dunning", "open_gates"): [[("gate_mark", {})]],
    ("dunning", "run_day"): [[("bank_account", BANK), ("policy", {"version": 1, "enabled": True, "enabled_from": DAY})]],
    ("dunning", "send_planned"): [[("dispatch", {"state": "planned", "attempt_at": NOW})], [("dispatch", {"state": "sending"})]],
    ("dunning", "judge_promises"): [
        [("promise", {"status": "open", "recheck": True, "due_on": date(2099, 1, 1)})],
        [("promise", {"status": "open", "recheck": False, "due_on": date(2026, 3, 1)})],
    ],
    ("dunning", "judge_plans"): [
        [("payment_plan", {"status": "active", "recheck": True})],
        [("payment_plan", {"status": "active", "recheck": False, "next_on": date(2026, 3, 1)})],
    ],
    ("dunning", "settle_statuses"): [
        [("invoice_status", {"invoice_id": THING, "version": 2, "settled_version": 1}), ("item", {"item_id": THING})],
    ],
    ("invoicing", "imports"): [
        [("import_run", {"state": state, "kind": "invoices", "mode": "issued"})] for state in ("waiting", "running")
    ],
    ("partners", "give_positions"): [
        [("event_log", {})],
        [("subscription", {"status": "active", "position": 1}), ("log_head", {"position": 2})],
    ],
    ("partners", "deliveries"): [[("delivery", {"status": "pending", "next_attempt_at": NOW})]],
    ("reporting", "measure_days"): [
        [("measured_day", {})],
        [("collection_account", BANK), ("reconciliation", {"bank_account_id": ACCOUNT, "matched_through": DAY})],
    ],
    ("scoring", "bureau"): [[("bureau_subject", {"next_attempt_at": NOW})]],
    ("scoring", "review"): [
        [("standing", {"review_on": DAY})],
        [("standing", {"review_on": date(2099, 1, 1), "policy_version": 1}), ("credit_policy", {"version": 2})],
    ],
}  # fmt: skip
"""By service and job what makes it due, each way by itself: tables and what of their rows counts; the rest is made up."""
CONDITIONS = {(name, job.name): job.due for name, one in SERVICES.items() for job in one.jobs if job.due}
CONDITIONS["partners", "deliveries"] = DELIVERY_DUE
CONDITIONS["scoring", "bureau"] = BUREAU_DUE


def _row(table: Table, tenant: UUID, values: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what its columns need."""
    made: dict[str, Any] = {"tenant_id": tenant, **values}
    plain = {bool: False, int: 0, str: "x", date: DAY, datetime: NOW, UUID: None, dict: "{}", list: [], bytes: b""}
    for column in table.columns:
        if column.name not in made and not column.nullable and column.server_default is None and column.identity is None:
            kind = column.type.python_type if not isinstance(column.type, postgresql.JSONB) else dict
            made[column.name] = new_id() if kind is UUID else plain[kind]
    return made


async def _put(owner: asyncpg.Connection, service: Service, tenant: UUID, rows: Rows) -> None:
    for name, values in rows:
        row = _row(service.metadata.tables[name], tenant, values)
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        columns = ", ".join(f'"{column}"' for column in row)
        await owner.execute(f"INSERT INTO {name} ({columns}) VALUES ({places})", *row.values())  # noqa: S608 - our own names


def test_every_job_that_is_asked_for_all_tenants_is_tried_here() -> None:
    assert CONDITIONS.keys() == DUE.keys()
    often = {(name, job.name) for name, one in SERVICES.items() for job in one.jobs if job.every_seconds <= 1}
    assert often <= DUE.keys()


@pytest.mark.parametrize(("service", "job"), sorted(DUE))
async def test_who_has_something_to_do_is_found_among_all_and_nobody_else(infrastructure: Infrastructure, service: str, job: str) -> None:
    one, condition = SERVICES[service], CONDITIONS[service, job]
    for rows in DUE[service, job]:
        async with fresh_database(infrastructure.admin_dsn, service) as urls:
            database = Database(urls.app, application_name="due", pool_max=2)
            async with database.transaction(ONE, OTHER):
                pass
            assert await tenants_due(database, condition, NOW) == []
            owner = await asyncpg.connect(infrastructure.admin_dsn.rsplit("/", 1)[0] + "/" + urls.database)
            await owner.execute("SET session_replication_role = replica")  # a row alone, without those that it hangs on
            await _put(owner, one, OTHER, rows)
            assert await tenants_due(database, condition, NOW) == [OTHER]
            await owner.close()
            await database.close()


async def test_what_is_stored_meanwhile_and_not_due_is_not_read(infrastructure: Infrastructure) -> None:
    condition, read = CONDITIONS["matching", "look_again"], "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'payment'"
    async with fresh_database(infrastructure.admin_dsn, "matching") as urls:
        database = Database(urls.app, application_name="due", pool_max=1)
        async with database.transaction(ONE):
            pass
        owner = await asyncpg.connect(infrastructure.admin_dsn.rsplit("/", 1)[0] + "/" + urls.database)
        await owner.execute("VACUUM ANALYZE payment")  # known to be empty: every index is as good as another
        await tenants_due(database, condition, NOW)
        row = _row(MATCHING.metadata.tables["payment"], ONE, MONEY)
        rows = [{**row, "payment_id": new_id(), "transaction_key": f"ref:{number}"}.values() for number in range(2_000)]
        await owner.copy_records_to_table("payment", records=[tuple(one) for one in rows], columns=list(row))
        before = await owner.fetchval(read)
        assert await tenants_due(database, condition, NOW) == []
        async with database.transaction(ONE) as conn:
            await conn.execute(text("SELECT pg_stat_force_next_flush()"))
        assert await owner.fetchval(read) - before < 10
        await owner.close()
        await database.close()
