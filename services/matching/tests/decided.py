"""What the tests of decisions share: payers that are known by their IBAN, and every decision taken again from what it was stored with."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from contracts.customers import CustomerIdentityChanged
from matching.domain.replaying import differences, replay
from matching.handlers.matching import look_at_due
from matching.storage.models import shipped
from shared.clock import machine_now
from shared.jobs import JobContext
from shared.kafka import Offsets
from shared.testing.events import message

RULES = ("remittance", "announced", "promise", "payment_plan", "hand", "confirmed", "moved", "set_apart", "imputation", "settlement")


def iban(number: int) -> str:
    return f"DE{number:020d}"


def identity(tenant, make, number, name=None, version=1):
    return message(
        tenant,
        CustomerIdentityChanged(
            version=version,
            customer_id=make.customer_id(tenant, f"C{number}"),
            name=name or f"Acheteur {number:03d} SA",
            known_ibans=[iban(number)],
        ),
    )


async def look(world, tenant):
    """As the job does, once everything is due."""
    await world.rows(tenant, "UPDATE payment SET next_look_at = now() WHERE next_look_at IS NOT NULL RETURNING 1")
    await look_at_due(JobContext(world.database, machine_now(), Offsets("127.0.0.1:1"), "", "test"), tenant)


async def ledger(world, tenant):
    """What is left of each item, and which amounts settled it; ids and versions aside."""
    rows = await world.rows(
        tenant,
        "SELECT i.invoice_number, i.open_minor, i.discount_minor, i.credit_minor, p.bank_reference, a.amount_minor FROM open_item i "
        "LEFT JOIN allocation a USING (tenant_id, item_id) LEFT JOIN payment p USING (tenant_id, payment_id) ORDER BY 1, 5",
    )
    balances = await world.rows(
        tenant, "SELECT customer_id, open_minor, unapplied_minor, unused_credits_minor FROM account_balance ORDER BY customer_id"
    )
    left = await world.rows(tenant, "SELECT bank_reference, status, unapplied_minor FROM payment ORDER BY 1")
    return [tuple(row) for row in rows], [tuple(row)[1:] for row in balances if any(tuple(row)[1:])], [tuple(row) for row in left]


async def replayed(world, tenant):
    """Replays every decision of a tenant from what is stored of it; returns how many by rule, and how many are words of a person."""
    counts: dict[str, int] = {}
    rows = await world.rows(
        tenant,
        "SELECT d.rule, CAST(d.evidence AS text), CAST(d.inputs AS text), p.currency FROM decision d "
        "JOIN payment p USING (tenant_id, payment_id)",
    )
    for rule, evidence, inputs, currency in rows:
        held = json.loads(evidence)
        if rule in RULES:
            continue
        again = json.loads(json.dumps(replay(rule, held, json.loads(inputs) if inputs else None, currency, shipped().model), default=str))
        assert differences(again, {**held, "rule": rule}) == []
        counts[rule] = counts.get(rule, 0) + 1
    return counts


@asynccontextmanager
async def undecidable(world, tenant) -> AsyncIterator[None]:
    """The database refuses every allocation of a tenant."""
    owner = await asyncpg.connect(world.urls.owner)
    try:
        await owner.execute(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF NEW.tenant_id = '{tenant}' THEN RAISE 'broken'; END IF; RETURN NEW; END $$; "
            "CREATE TRIGGER broken BEFORE INSERT ON allocation FOR EACH ROW EXECUTE FUNCTION broken()"
        )
        yield
    finally:
        await owner.execute("DROP FUNCTION broken CASCADE")
        await owner.close()
