"""The world is the same for the same seed, adds up, and nobody acts before there is a reason to."""

from collections import Counter
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox.world import World, generate
from stdnum import iban, iso11649, vatin
from stdnum.fr import siren

SEEDS = st.integers(0, 10**6)
SIZES = st.tuples(st.integers(1, 30), st.integers(1, 60))


def small(seed: int, size: tuple[int, int]) -> World:
    return generate(seed=seed, customers=size[0], days=size[1])


@given(SEEDS, SIZES)
@settings(max_examples=20, deadline=None)
def test_same_seed_same_world(seed: int, size: tuple[int, int]) -> None:
    assert small(seed, size) == small(seed, size)


def test_another_seed_is_another_world() -> None:
    assert generate(seed=1, customers=10, days=10) != generate(seed=2, customers=10, days=10)


@given(SEEDS, SIZES)
@settings(max_examples=40, deadline=None)
def test_documents_add_up(seed: int, size: tuple[int, int]) -> None:
    world = small(seed, size)
    for day in world.days:
        for document in (*day.documents, *day.changes):
            assert document.net_minor == sum(line.net_minor for line in document.lines)
            assert document.total_minor == document.net_minor + document.tax_minor
            assert document.payable_minor == document.total_minor - document.prepaid_minor > 0
            assert sum(amount for _, amount in document.instalments) == document.payable_minor
            assert all(amount > 0 for _, amount in document.instalments)
            assert 0 < document.owed_minor <= document.payable_minor


@given(SEEDS, SIZES)
@settings(max_examples=40, deadline=None)
def test_nobody_pays_more_than_meant_and_everything_has_a_cause(seed: int, size: tuple[int, int]) -> None:
    world = small(seed, size)
    owed = {document.number: document.owed_minor for document in world.documents() if document.kind == "invoice"}
    sent = {document.number: day.date for day in world.days for document in day.documents}
    meant: Counter[str] = Counter()
    executed: dict[str, int] = {}
    for day in world.days:
        for transfer in day.transfers:
            assert transfer.amount_minor == sum(amount for _, amount in transfer.pays) > 0
            assert all(sent[number] < day.date for number, _ in transfer.pays)
            assert transfer.notice == "json" or day.date.weekday() < 5
            executed[transfer.transfer_id] = transfer.amount_minor
            if transfer.intent not in {"over", "double"}:
                meant.update(dict(transfer.pays))
        for gone in day.returns:
            assert gone.transfer_id in executed
        for dispute in day.disputes:
            assert sent[dispute.number] <= day.date
            assert 0 < dispute.amount_minor <= owed[dispute.number]
        for promise in day.promises:
            assert sent[promise.number] <= day.date < promise.due_on
    assert all(amount <= owed[number] for number, amount in meant.items())


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_every_number_has_right_check_digits(seed: int) -> None:
    world = generate(seed=seed, customers=40, days=20)
    for party in (world.seller.party, world.stranger, *(customer.party for customer in world.customers)):
        assert vatin.is_valid(party.vat_id)
        if party.country == "FR":
            assert siren.is_valid(dict(party.company_ids)["0002"])
    for number in (*dict(world.seller.accounts).values(), *(customer.iban for customer in world.customers)):
        assert iban.is_valid(number)
    for document in world.documents():
        assert document.payment_reference is None or iso11649.is_valid(document.payment_reference)


def test_the_default_world_has_all_that_the_demo_shows() -> None:
    world = generate(seed=1)
    transfers = [transfer for day in world.days for transfer in day.transfers]
    assert sum(document.kind == "invoice" for document in world.documents()) == 5000
    assert {transfer.intent for transfer in transfers} == {
        "exact",
        "late",
        "partial",
        "over",
        "double",
        "no_reference",
        "wrong_reference",
        "collective",
    }
    assert {customer.party.country for customer in world.customers} == {"FR", "DE", "BE", "NL", "ES"}
    assert {customer.currency for customer in world.customers} == {"EUR", "USD"}
    assert all(
        sum(len(getattr(day, what)) for day in world.days) > 10 for what in ("returns", "disputes", "resolutions", "promises", "changes")
    )
    assert {bad.fault for day in world.days for bad in day.bad_documents} == {"bad_sum", "missing_field", "unknown_seller"}
    assert [day.date for day in world.days] == [world.days[0].date + timedelta(days=offset) for offset in range(90)]


def test_a_small_world_has_every_kind_of_debtor() -> None:
    assert len({customer.behaviour for customer in generate(seed=5, customers=7, days=5).customers}) == 7
