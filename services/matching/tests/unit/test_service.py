"""What the service declares agrees with the contracts."""

from collections import Counter

from contracts.catalogue import consumed_by, topics
from matching.cli import SERVICE
from matching.settings import MatchingSettings
from matching.worker import ROUTES
from shared.service import make_workers, open_runtime


def test_routes_are_what_the_catalogue_says_matching_consumes():
    assert {event.__name__ for event in ROUTES} == consumed_by("matching")


async def test_each_topic_is_read_by_one_loop_and_what_matching_tells_itself_by_one_of_its_own():
    runtime = open_runtime(
        SERVICE,
        MatchingSettings(database_url="postgresql://nobody@localhost/none", kafka_bootstrap_servers="localhost:1", cursor_secret="c" * 32),
    )
    own, others = make_workers(runtime)
    assert Counter((*own.topics, *others.topics)) == Counter(consumed_by("matching"))
    assert set(own.topics) == {name for name in consumed_by("matching") if topics()[name].owner == "matching"}
    await runtime.database.close()
