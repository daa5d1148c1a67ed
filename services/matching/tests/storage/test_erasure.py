"""Nothing of an erased person is in any table of the sub-ledger, and the books stay whole."""

from datetime import date
from uuid import UUID

import asyncpg
from contracts.customers import Address, CustomerErased, CustomerIdentityChanged
from shared.ids import new_id
from shared.testing.events import message
from shared.testing.mentions import mentions

PERSON = ("Yvonne Le Gall", "FR7630004000031234567890143", "merci Yvonne", "3 rue du Port")
IBAN_OF_HER = PERSON[1]


def identity(tenant: UUID, customer: UUID, version: int = 1):
    who = CustomerIdentityChanged(
        version=version,
        customer_id=customer,
        name="Yvonne Le Gall",
        known_ibans=[IBAN_OF_HER],
        address=Address(lines=["3 rue du Port"]),
    )
    return message(tenant, who)


def erased(tenant: UUID, customer: UUID, version: int = 5):
    gone = CustomerErased(version=version, customer_id=customer, source_system="erp", customer_number="P", erased_on=date(2036, 1, 1))
    return message(tenant, gone)


async def test_nothing_of_the_person_is_left_and_nothing_late_brings_it_back(world, make, tenant, client):
    held = await world.account(tenant)
    person = make.customer_id(tenant, "P")
    await world.feed(identity(tenant, person), make.invoice(tenant, "F1", 4_200, customer="P", reference="RF18539007547034"))
    said = {"debtor_name": "Yvonne Le Gall", "debtor_iban": IBAN_OF_HER, "remittance": ("facture F1", "merci Yvonne")}
    await world.pay(held, 4_200, "RF18539007547034", number=1, **said)
    await world.match(tenant)
    await world.pay(held, 10, number=2, **said)  # hers, and nothing is owed
    await world.match(tenant)
    conn = await asyncpg.connect(world.urls.owner)
    await conn.execute("DELETE FROM outbox")
    await conn.close()
    assert {where.split(": ")[1] for where in await mentions(world.urls.owner, *PERSON)} == set(PERSON) - {"3 rue du Port"}
    other = new_id()
    await world.feed(identity(other, person))
    await world.feed(erased(tenant, person), identity(tenant, person, 4))
    left = await mentions(world.urls.owner, *PERSON)
    assert left == ["customer_identity.name: Yvonne Le Gall", f"payer_iban.iban: {IBAN_OF_HER}"]  # the other tenant's alone
    await world.feed(erased(other, person, 2))
    assert await mentions(world.urls.owner, *PERSON) == []
    rows = await world.rows(tenant, "SELECT amount_minor, payer_customer_id FROM payment ORDER BY amount_minor")
    assert [tuple(row) for row in rows] == [(10, person), (4_200, person)]
    answer = await client.get("/v1/payments")
    assert answer.status_code == 200
    await world.holds()
