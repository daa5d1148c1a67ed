"""What is settled as it is booked stands as if it had been booked first, and matched when its PaymentReceived came round (ADR 16)."""

import json
from datetime import date

import asyncpg
import msgspec
import pytest
from bankdays import Bank, book, job, money
from contracts.envelope import done_by
from decided import undecidable
from matching.domain.statements import Reference, Transaction
from matching.handlers.ingest import Origin, book_lines
from matching.handlers.slices import import_slices
from shared.ids import new_id
from shared.outbox import unfold

IDS = {
    "bank_account_id": "SELECT bank_account_id, 'account' FROM bank_account",
    "payment_id": "SELECT payment_id, 'payment ' || transaction_key FROM payment",
    "item_id": "SELECT item_id, 'item ' || invoice_number FROM open_item",
    "account_id": "SELECT account_id, 'of ' || customer_id FROM account_balance",
}
STORED = {
    "payment": ("received_at", "next_look_at", "statement_id"),
    "open_item": (),
    "allocation": (),
    "decision": ("decided_at",),
    "ledger_entry": ("at", "entry_id"),
    "account_balance": (),
}


def line(number: int, amount: int, reference: str | None):
    one = Transaction(
        kind="payment",
        credit=True,
        amount_minor=amount,
        currency="EUR",
        day=date(2026, 3, 2),
        bank_reference=f"B{number}",
        references=[Reference("other", reference)] if reference else [],
    )
    return one.identity(), one


TOLD = [
    (1_000, "REF000001"),  # all of an item
    (40_000, "REF000002"),  # a part
    (990, "REF000003"),  # perhaps all of it but charges
    (1_500, "REF000004"),  # too much
    (1_000, "REF000006"),  # two items bear it
    (1_000, "REF000008"),  # a credit note
    (1_000, "REF000009"),  # an item in another currency
    (1_000, "REF000010"),  # nobody's
    (1_000, None),
]


async def stands(world, tenant, make) -> dict[str, list[str]]:
    """All that is stored and told of a tenant, with names for ids and without moments and the ids of events."""
    names = {str(tenant): "tenant", str(make.entity_id(tenant)): "seller"}
    names |= {str(make.customer_id(tenant, f"C{n}")): f"C{n}" for n in range(12)}
    for query in IDS.values():
        names |= {str(row[0]): str(row[1]) for row in await world.rows(tenant, query)}

    def named(text: str, without: tuple[str, ...] = ()) -> str:
        for _ in range(2):  # an account's name has a customer's id in it
            for one, name in names.items():
                text = text.replace(one, name)
        told = ordered(json.loads(text))
        return json.dumps({name: value for name, value in told.items() if name not in without}, sort_keys=True)

    found = {}
    for table, without in STORED.items():
        rows = await world.rows(tenant, f"SELECT CAST(to_jsonb(t) AS text) FROM {table} t")  # noqa: S608 - ours
        found[table] = sorted(named(row[0], without) for row in rows)
    told = [m for m in await world.events() if m.tenant_id == tenant and m.envelope.type != "AccountBalanceChanged"]
    found["events"] = sorted(named(msgspec.json.encode(m.data).decode()) for m in told)
    return found


async def passed_over(world, tenant) -> list[str]:
    """The payments whose PaymentReceived the worker of matching does not look at."""
    owner = await asyncpg.connect(world.urls.owner)
    rows = await owner.fetch("SELECT topics, batches FROM outbox")
    await owner.close()
    told = [json.loads(value) for row in rows for *_, value, headers in unfold(*row) if done_by("matching") in headers]
    keys = {str(row[0]): row[1] for row in await world.rows(tenant, "SELECT payment_id, bank_reference FROM payment")}
    return sorted(keys[one["payment_id"]] for one in told if one["payment_id"] in keys)


def ordered(value):
    """Lists without the order that ids gave them."""
    if isinstance(value, list):
        return sorted((ordered(one) for one in value), key=json.dumps)
    return {name: ordered(one) for name, one in value.items()} if isinstance(value, dict) else value


async def brought(world, make, now, told, *, settle: bool):
    """A tenant with the items, to whom payments were brought, and which of them are matched before PaymentReceived comes round."""
    tenant = new_id()
    held = await world.account(tenant)
    owed = [(n, f"REF{n:06d}", {}) for n in range(1, 6)] + [(n, "REF000006", {}) for n in (6, 7)]
    owed += [(8, "REF000008", {"cls": make.Credit}), (9, "REF000009", {"currency": "USD"})]
    for n, reference, more in owed:
        await world.feed(make.invoice(tenant, f"F-{n}", 100_000 if n in {2, 5} else 1_000, customer=f"C{n}", reference=reference, **more))
    async with world.database.transaction(tenant) as conn:
        lines = [line(number, *each) for number, each in enumerate(told)]
        await book_lines(conn, held, Origin(new_id(), "camt.053", apart=False), lines, now, settle=settle)
    matched = await world.rows(tenant, "SELECT bank_reference FROM payment WHERE status = 'matched' ORDER BY 1")
    await world.match(tenant)
    await world.holds()
    return tenant, [row[0] for row in matched]


async def test_it_makes_no_difference_when_payments_are_settled(world, make, now):
    first, settled = await brought(world, make, now, TOLD, settle=True)
    second, none = await brought(world, make, now, TOLD, settle=False)
    assert (settled, none) == (["B0", "B1"], [])
    assert await passed_over(world, first) == settled
    one, other = await stands(world, first, make), await stands(world, second, make)
    for what in one:
        assert one[what] == other[what], what


async def test_of_two_that_name_one_item_the_first_is_settled_and_the_other_finds_what_is_left(world, make, now):
    tenant, settled = await brought(world, make, now, [(60_000, "REF000005"), (60_000, "REF000005")], settle=True)
    assert settled == ["B0"]
    query = "SELECT status, allocated_minor, unapplied_minor, unapplied_reason FROM payment ORDER BY bank_reference"
    assert [tuple(row) for row in await world.rows(tenant, query)] == [
        ("matched", 60_000, 0, None),
        ("partly_matched", 40_000, 20_000, "overpaid"),
    ]


async def many(bank, count: int = 1_100) -> None:
    """A statement that is booked slice by slice: each line names an item of its own, of which there are two."""
    lines = [bank.entry(1_000, ref=f"L{n}", structured=f"REF{n:06d}") for n in range(1, count + 1)]
    await book(bank.client, bank.camtfile.statement(bank.held.iban, "0.00", money(count * 1_000), *lines))


@pytest.fixture
async def bank(world, client, tenant, make, camtfile):
    await world.feed(*(make.invoice(tenant, f"F-{n}", 1_000, reference=f"REF{n:06d}") for n in (1, 1_100)))
    return Bank(world, client, await world.account(tenant), camtfile)


async def statuses(world, tenant):
    return [tuple(row) for row in await world.rows(tenant, "SELECT status, count(*) FROM payment GROUP BY 1 ORDER BY 1")]


async def test_what_a_long_statement_names_for_sure_is_settled_with_it(world, tenant, bank):
    await many(bank)
    await import_slices(job(world), tenant)
    assert await statuses(world, tenant) == [("matched", 2), ("received", 1_098)]
    assert await passed_over(world, tenant) == ["L1", "L1100"]
    await world.holds()


async def test_whatever_fails_in_deciding_a_long_statement_is_in(world, tenant, bank):
    await many(bank)
    async with undecidable(world, tenant):
        await import_slices(job(world), tenant)
    assert await statuses(world, tenant) == [("received", 1_100)]
    await world.match(tenant)
    assert await statuses(world, tenant) == [("matched", 2), ("unapplied", 1_098)]
    await world.holds()
