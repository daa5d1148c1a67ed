"""Duplicates stand in reports as one while they are merged; who was erased is in no table."""

import random
from datetime import date

from contracts.customers import Address, Contact, CustomerErased, CustomerIdentityChanged, CustomerMerged, CustomerUnmerged
from reporting.storage.reports import ageing_now, ageing_totals
from reporting.tables import READ_MODELS
from shared.db import fetch
from shared.ids import new_id
from shared.testing import tokens
from shared.testing.events import message
from shared.testing.mentions import mentions


def merged(book, one: str, into: str, version: int = 2):
    ids = {"customer_id": book.id(one), "into_customer_id": book.id(into)}
    return message(book.tenant_id, CustomerMerged(version=version, source_system="erp", customer_number=one, status="merged", **ids))


def separated(book, one: str, into: str, version: int = 3):
    ids = {"customer_id": book.id(one), "into_customer_id": book.id(into)}
    return message(book.tenant_id, CustomerUnmerged(version=version, source_system="erp", customer_number=one, status="separate", **ids))


PERSON = ("Yvonne Le Gall", "yvonne@legall.example", "3 rue du Port")


def identity(book, one: str, version: int = 1, name: str = "Yvonne Le Gall"):
    who = CustomerIdentityChanged(
        version=version,
        customer_id=book.id(one),
        name=name,
        address=Address(lines=["3 rue du Port"], city="Lorient"),
        contacts=[Contact(role="billing", name="Yvonne", email="yvonne@legall.example")],
    )
    return message(book.tenant_id, who)


def erased(book, one: str, version: int = 5):
    return message(
        book.tenant_id,
        CustomerErased(version=version, customer_id=book.id(one), source_system="erp", customer_number=one, erased_on=date(2026, 6, 15)),
    )


async def test_what_a_merged_customer_owes_stands_under_the_survivor_until_it_is_separated(client, database, apply, ledger):
    book = ledger(new_id())
    headers = {"authorization": f"Bearer {tokens.token(book.tenant_id, 'reports:read')}"}

    async def ageing() -> dict[str, int]:
        items = (await client.get("/v1/reports/ageing", headers=headers)).json()["items"]
        return {line["customer_id"]: (line["open_minor"], line["unapplied_minor"]) for line in items}

    await apply(database, book.item("F1", "a", ("2026-05-01", 100)), book.item("F2", "b", ("2026-05-01", 7)))
    await apply(database, book.payment("P1", 5, payer="a"))
    a, b = str(book.id("a")), str(book.id("b"))
    assert await ageing() == {a: (100, -5), b: (7, 0)}
    await apply(database, merged(book, "a", "b"))
    assert await ageing() == {b: (107, -5)}
    view = (await client.get(f"/v1/customers/{a}", headers=headers)).json()
    assert (view["customer_id"], view["asked_customer_id"], view["merged_customer_ids"]) == (b, a, [a])
    assert (len(view["open_items"]), view["ageing"][0]["open_minor"], len(view["payments"])) == (2, 107, 1)
    await apply(database, book.item("F1", "b", ("2026-05-01", 100), version=2))  # matching moved it
    await apply(database, separated(book, "a", "b"))
    await apply(database, book.item("F1", "a", ("2026-05-01", 100), version=3))
    assert await ageing() == {a: (100, -5), b: (7, 0)}


async def test_any_order_and_repetition_gives_the_same_report(database, apply, ledger, urls, rows_of):
    results = []
    for seed in range(6):
        chance = random.Random(seed)
        book = ledger(new_id())
        events = [book.item(f"F{n}", chance2, ("2026-05-01", 10 + n)) for n, chance2 in enumerate("abcdabcd")]
        events += [
            merged(book, "a", "b"),
            merged(book, "b", "c"),
            separated(book, "b", "c"),
            merged(book, "d", "a"),
            merged(book, "c", "d", 4),
        ]
        events += [identity(book, "a", 1), identity(book, "a", 4), erased(book, "a", 5)]
        if seed:
            events += chance.choices(events, k=6)
            chance.shuffle(events)
        for event in events:
            await apply(database, event)
        source = ageing_now()
        async with database.transaction(book.tenant_id) as conn:
            values = source.values(book.tenant_id, as_of=date(2026, 6, 15))
            rows = await fetch(conn, f"SELECT customer_id, days_31_60_minor AS owed FROM ({source.sql}) AS a", **values)  # noqa: S608 - ours
            totals = await ageing_totals(conn, source, values)
        names = {book.id(name): name for name in "abcd"}
        kept = {table.name: len(await rows_of(urls.owner, table.name, book.tenant_id)) for table in READ_MODELS}
        results.append(
            (sorted((names[row.customer_id], int(row.owed)) for row in rows), [int(row.days_31_60_minor) for row in totals], kept)
        )
    assert results[0][0] == [("b", sum(10 + n for n in range(8)))]
    assert all(result == results[0] for result in results)


async def test_nothing_of_an_erased_person_is_in_any_table_and_nothing_late_brings_it_back(client, database, apply, ledger, urls):
    book = ledger(new_id())
    await apply(
        database,
        identity(book, "gone"),
        message(book.tenant_id, CustomerIdentityChanged(version=1, customer_id=book.id("kept"), name="Anne Still")),
    )
    assert len(await mentions(urls.owner, *PERSON)) == len(PERSON)
    await apply(database, erased(book, "gone"))
    await apply(database, identity(book, "gone", 4))
    assert await mentions(urls.owner, *PERSON) == []
    async with database.transaction(book.tenant_id) as conn:
        rows = await fetch(conn, "SELECT name, version FROM customer_identity ORDER BY version")
    assert [tuple(row) for row in rows] == [("Anne Still", 1), ("", 5)]
    headers = {"authorization": f"Bearer {tokens.token(book.tenant_id, 'reports:read')}"}
    view = (await client.get(f"/v1/customers/{book.id('gone')}", headers=headers)).json()
    assert (view["name"], view["address"], view["contacts"]) == (None, None, [])
