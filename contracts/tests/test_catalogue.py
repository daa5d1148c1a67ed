"""The catalogue agrees with the classes and with itself."""

from collections import defaultdict
from uuid import UUID

import msgspec
import pytest
import yaml
from contracts.catalogue import SERVICES, Topic, consumed_by, events, topics
from contracts.cycles import unguarded_cycle
from contracts.envelope import FactEvent, StateEvent
from contracts.generate import ROOT

every_topic = pytest.mark.parametrize("topic", topics().values(), ids=list(topics()))


def test_every_event_has_one_topic_and_every_topic_one_event():
    files = sorted((ROOT / "topics").glob("*.yaml"))
    assert {path.stem for path in files} == topics().keys() == events().keys()
    assert [path.stem for path in files if yaml.safe_load(path.read_text("utf-8"))["name"] != path.stem] == []


@every_topic
def test_a_topic_agrees_with_its_class(topic):
    event = events()[topic.name]
    assert issubclass(event, {"state": StateEvent, "fact": FactEvent}[topic.kind])
    assert {field.name: field.type for field in msgspec.structs.fields(event)}[topic.key] is UUID
    assert event.__struct_config__.tag == topic.name
    assert event.__struct_config__.frozen
    assert event.__doc__


@every_topic
def test_a_topic_names_known_services_only(topic):
    assert topic.owner in SERVICES
    assert topic.consumers.keys() <= set(SERVICES)
    assert topic.consumers, "an event that nobody reads is not published"
    assert topic.partitions > 0


@every_topic
def test_a_consumer_may_publish_only_events_of_its_own(topic):
    owned = defaultdict(set)
    for each in topics().values():
        owned[each.owner].add(each.name)
    assert {consumer: set(may) - owned[consumer] for consumer, may in topic.consumers.items() if set(may) - owned[consumer]} == {}
    assert all(len(may) == len(set(may)) for may in topic.consumers.values())


@every_topic
def test_what_is_not_kept_for_ever_or_not_public_says_why(topic):
    if topic.retention != "forever" or not topic.public:
        assert topic.retention_reason
    if topic.retention == "compacted":
        assert topic.kind == "state", "compaction keeps the last event of a key: a fact has no last one"


def test_topics_of_one_aggregate_share_owner_key_and_partitions():
    shared = defaultdict(set)
    for topic in topics().values():
        shared[topic.aggregate].add((topic.owner, topic.key, topic.partitions, topic.kind))
    assert {aggregate: found for aggregate, found in shared.items() if len(found) > 1} == {}


def test_who_a_person_is_never_reaches_partners():
    assert "CustomerIdentityChanged" not in consumed_by("partners")
    assert not topics()["CustomerIdentityChanged"].public
    assert {topic.name for topic in topics().values() if topic.public} <= consumed_by("partners")


def test_no_topic_name_collides_in_kafkas_metrics():
    assert [name for name in topics() if "." in name or "_" in name] == []


def test_every_cycle_of_events_names_its_guard():
    assert unguarded_cycle(topics()) == []


def made_up(name: str, *follows: str, guard: str | None = None) -> Topic:
    return Topic(name=name, owner="matching", aggregate="a", kind="state", key="a", consumers={"matching": list(follows)}, guard=guard)


@pytest.mark.parametrize(
    ("catalogue", "cycle"),
    [
        ([made_up("A", "B"), made_up("B", "C"), made_up("C")], []),
        ([made_up("A", "B", "C"), made_up("B", "C"), made_up("C")], []),
        ([made_up("A", "A")], ["A", "A"]),
        ([made_up("A", "A", guard="origin")], []),
        ([made_up("A", "B"), made_up("B", "C"), made_up("C", "B")], ["B", "C", "B"]),
        ([made_up("A", "B"), made_up("B", "C", guard="origin"), made_up("C", "B", "A")], []),
        ([made_up("A", "B", "C"), made_up("B", "A", guard="origin"), made_up("C", "A")], ["A", "C", "A"]),
        ([made_up("Z", "Y"), made_up("Y", "Elsewhere")], []),
    ],
)
def test_the_walker_finds_an_unguarded_cycle(catalogue, cycle):
    assert unguarded_cycle({topic.name: topic for topic in catalogue}) == cycle
