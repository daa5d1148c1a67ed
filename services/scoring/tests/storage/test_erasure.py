"""Nothing of an erased person is in any table of scoring, and no late word brings it back."""

from datetime import date

from contracts.customers import Address, CustomerErased, CustomerIdentityChanged
from scoring.domain.observation import Observation
from scoring.handlers import credit
from scoring.storage import bureau
from shared.testing.mentions import mentions

PERSON = ("Yvonne Le Gall", "says her brother", "her accountant called")


async def test_nothing_of_the_person_is_left_and_nothing_late_brings_it_back(world):
    person = world.id("person")
    who = CustomerIdentityChanged(version=1, customer_id=person, name="Yvonne Le Gall", address=Address(country="FR"))
    await world.feed(world.customer(person), who)
    await world.review()
    seen = Observation(
        provider="creditsafe", reference="FR001", checksum="c", raw_score="50", raw_min="0", raw_max="100", direction="higher_is_better",
        company_status="active", band="C", advised_limit_minor=None, advised_limit_currency=None, as_of=world.now, fetched_at=world.now,
        raw={"companyName": "Yvonne Le Gall"},
    )  # fmt: skip
    async with world.database.transaction(world.tenant) as conn:
        await bureau.observe(conn, world.tenant, person, seen)
        await credit.change_hold(
            conn, world.tenant, person, active=True, note="says her brother", actor="me", expires_on=None, now=world.now
        )
        await credit.set_limit(
            conn,
            world.tenant,
            person,
            limit_minor=5,
            currency="EUR",
            expires_on=None,
            note="her accountant called",
            actor="me",
            now=world.now,
        )
    assert {where.split(": ")[1] for where in await mentions(world.urls.owner, *PERSON)} == set(PERSON)
    erased = CustomerErased(version=5, customer_id=person, source_system="erp", customer_number="P", erased_on=date(2036, 1, 1))
    await world.feed(erased, CustomerIdentityChanged(version=4, customer_id=person, name="Yvonne Le Gall"), erased)
    assert await mentions(world.urls.owner, *PERSON) == []
    await world.feed(world.customer(person, 6))  # its register number is no reason to ask a bureau about the person again
    assert await world.rows("SELECT 1 FROM bureau_subject") == []
    await world.review()
    await world.invariants_hold()
