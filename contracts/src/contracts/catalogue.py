"""The catalogue: every topic's YAML, and the class of every event.

Invariants: one YAML per event class and one class per YAML; whoever is in `consumers` subscribes (checked by the
services' own tests); partitions never change once a topic exists, for that would move keys.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from contracts import accounts, credit, customers, dunning, invoices, items, kpis, payments
from contracts.envelope import Event, FactEvent, StateEvent

MODULES = (customers, invoices, accounts, payments, items, credit, dunning, kpis)
SERVICES = ("invoicing", "matching", "scoring", "dunning", "reporting", "partners")


class Topic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One topic. `key` is the field whose value follows the tenant in the record's key.

    `consumers` says for each consuming service which events it may publish because of this one; `guard` says what stops
    a cycle that runs through this topic. `retention` is `forever`, `compacted`, or a number of days with its reason.
    """

    name: str
    owner: Literal["invoicing", "matching", "scoring", "dunning", "reporting", "partners"]
    aggregate: str
    kind: Literal["state", "fact"]
    key: str
    partitions: int = 6
    retention: Literal["forever", "compacted"] | int = "forever"
    retention_reason: str | None = None
    public: bool = True
    consumers: dict[str, list[str]] = {}
    guard: str | None = None


def _topics_dir() -> Path:
    installed = Path(__file__).parent / "topics"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "topics"


@cache
def topics() -> dict[str, Topic]:
    """Every topic by name. Raises msgspec.ValidationError naming the field when a YAML is wrong."""
    found = {}
    for path in sorted(_topics_dir().glob("*.yaml")):
        topic = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Topic)
        found[topic.name] = topic
    return found


@cache
def events() -> dict[str, type[Event]]:
    """Every published event class by name: the leaves of the class tree."""
    return {
        cls.__name__: cls
        for module in MODULES
        for cls in vars(module).values()
        if isinstance(cls, type)
        and issubclass(cls, (StateEvent, FactEvent))
        and cls.__module__ == module.__name__
        and not cls.__subclasses__()
    }


def consumed_by(service: str) -> set[str]:
    """Names of the events that a service subscribes to."""
    return {topic.name for topic in topics().values() if service in topic.consumers}
