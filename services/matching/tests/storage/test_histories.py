"""Generated histories of everything that may happen to money: after each step every invariant holds and no money is made."""

import pytest
from histories import STEPS, History
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from matching.invariants import CHECKS
from shared.db import Database
from shared.ids import new_id
from shared.invariants import verify

NUMBER = st.integers(0, 999)
WHICH = st.integers(0, 11)
"""Few payments are chosen, so that several things happen to the same one."""


@pytest.fixture(scope="module")
async def checked(world):
    """The database as the check sees it: every tenant."""
    database = Database(world.urls.check, application_name="check", pool_max=2)
    yield database
    await database.close()


@settings(max_examples=7, deadline=None, suppress_health_check=list(HealthCheck), phases=set(Phase) - {Phase.explain})
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), WHICH, NUMBER, NUMBER), min_size=8, max_size=24))
async def test_no_history_makes_or_loses_money(world, make, camtfile, client_of, checked, steps):
    tenant = new_id()
    scopes = ("bank:write", "bank:read", "payments:write", "payments:read")
    clients = [await client_of(tenant, subject=name, scopes=scopes) for name in ("tester", "second")]
    history = await History(world, make, camtfile, tenant, *clients).begin()
    for step in steps:
        await history.step(*step)
        async with checked.engine.begin() as conn:
            result = await verify(conn, CHECKS)
        assert all(value is True for value in result.values()), {k: v for k, v in result.items() if v is not True}
        await no_money_is_made(world, tenant)


async def no_money_is_made(world, tenant):
    """What the ledger says that the bank has is what was told, less what was withdrawn or stands as details, less what went out."""
    row = await world.one(
        tenant,
        "SELECT CAST(coalesce(sum(CASE WHEN debit = 'bank' THEN amount_minor WHEN credit = 'bank' THEN -amount_minor END), 0) AS bigint) "
        "AS ledger, (SELECT CAST(coalesce(sum(amount_minor - withdrawn_minor - CASE return_reason WHEN 'replaced_by_details' "
        "THEN returned_minor ELSE 0 END), 0) AS bigint) FROM payment WHERE source <> 'cash') AS told, "
        "(SELECT CAST(coalesce(sum(amount_minor), 0) AS bigint) FROM movement WHERE resolved AND kind <> 'total') AS moved "
        "FROM ledger_entry",
    )
    assert row.ledger == row.told + row.moved
