"""Cycles of events: A makes a consumer publish B, which makes another publish A.

Invariant checked here: every cycle runs through a topic whose YAML names its `guard`, what stops it.
"""

from collections.abc import Mapping

from contracts.catalogue import Topic


def unguarded_cycle(topics: Mapping[str, Topic]) -> list[str]:
    """The topics of one cycle without a guard, in order and back to the first; empty where there is none.

    A guarded topic is taken out of the graph: whatever cycle is left names no guard.
    """
    follows = {
        name: sorted({event for events in topic.consumers.values() for event in events})
        for name, topic in topics.items()
        if topic.guard is None
    }
    done: set[str] = set()
    for start in sorted(follows):
        if cycle := _walk(start, follows, [], done):
            return cycle
    return []


def _walk(name: str, follows: Mapping[str, list[str]], path: list[str], done: set[str]) -> list[str]:
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done or name not in follows:
        return []
    for following in follows[name]:
        if cycle := _walk(following, follows, [*path, name], done):
            return cycle
    done.add(name)
    return []
