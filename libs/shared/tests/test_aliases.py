import asyncio
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared.aliases import keep, members, resolve, survivors
from shared.db import Database, fetch
from shared.ids import new_id


def _id(number: int) -> UUID:
    return UUID(int=number + 1)


def _row(tenant: UUID, one: int, version: int, into: int | None) -> dict:
    return {"tenant_id": tenant, "id": _id(one), "version": version, "into_id": None if into is None else _id(into)}


def test_the_end_of_a_chain_stands_for_all_of_it_and_a_circle_has_its_smallest():
    assert survivors({_id(0): _id(1), _id(1): _id(2), _id(3): None}) == {_id(0): _id(2), _id(1): _id(2), _id(3): _id(3)}
    assert survivors({_id(4): _id(2), _id(2): _id(3), _id(3): _id(2)}) == dict.fromkeys([_id(2), _id(3), _id(4)], _id(2))


async def _survivors(database: Database, tenant: UUID) -> dict[UUID, UUID]:
    async with database.transaction(tenant) as conn:
        return {row.id: row.survivor_id for row in await fetch(conn, "SELECT id, survivor_id FROM alias")}


moves = st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 4)), min_size=1, max_size=10)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), history=moves)
async def test_any_order_repetition_and_batching_of_merges_gives_the_same_survivors(data, history, database: Database):
    rows, versions = [], dict.fromkeys(range(5), 0)
    for one, into in history:
        if one != into:
            versions[one] += 1
            rows.append((one, versions[one], into))
    straight, shuffled = new_id(), new_id()
    for row in rows:
        async with database.transaction(straight) as conn:
            await keep(conn, [_row(straight, *row)])
    mixed = data.draw(st.permutations(rows + rows[: len(rows) // 2]))
    while mixed:
        size = data.draw(st.integers(1, len(mixed)))
        async with database.transaction(shuffled) as conn:
            await keep(conn, [_row(shuffled, *row) for row in mixed[:size]])
        mixed = mixed[size:]
    newest = {_id(one): None if into is None else _id(into) for one, _, into in rows}
    expected = survivors(newest)
    for tenant in (straight, shuffled):
        found = await _survivors(database, tenant)
        assert {one: stands or one for one, stands in found.items()} == {one: expected[one] for one in newest}
        async with database.transaction(tenant) as conn:
            assert await resolve(conn, [(tenant, one) for one in newest]) == {
                (tenant, one): expected[one] for one in newest if expected[one] != one
            }


async def test_who_changed_is_told_and_a_separation_takes_its_own_chain_along(database: Database):
    tenant = new_id()
    async with database.transaction(tenant) as conn:
        assert await keep(conn, [_row(tenant, 0, 1, 1)]) == {(tenant, _id(0)): (_id(0), _id(1))}
        assert await keep(conn, [_row(tenant, 1, 1, 2)]) == {(tenant, _id(0)): (_id(1), _id(2)), (tenant, _id(1)): (_id(1), _id(2))}
        assert await keep(conn, [_row(tenant, 1, 1, 2)]) == {}
        assert await members(conn, tenant, [_id(2), _id(1), _id(7)]) == {_id(number): _id(2) for number in (0, 1, 2)} | {_id(7): _id(7)}
        assert await keep(conn, [_row(tenant, 1, 2, None)]) == {(tenant, _id(0)): (_id(2), _id(1)), (tenant, _id(1)): (_id(2), _id(1))}
        assert await members(conn, tenant, [_id(1), _id(2)]) == {_id(0): _id(1), _id(1): _id(1), _id(2): _id(2)}


async def test_two_links_of_one_chain_at_the_same_moment_find_each_other(database: Database):
    tenant = new_id()

    async def link(one: int, into: int) -> None:
        async with database.transaction(tenant) as conn:
            await keep(conn, [_row(tenant, one, 1, into)])
            await asyncio.sleep(0.02)

    await asyncio.gather(*(link(number, number + 1) for number in range(5)))
    assert set((await _survivors(database, tenant)).values()) == {_id(5)}
