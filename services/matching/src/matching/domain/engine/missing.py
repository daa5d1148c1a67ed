"""Whether a payer names a document that is not there: one that comes after its payment, or a number with more than a letter wrong.

Then an item of the amount need not be meant, however well it fits.
"""

from collections.abc import Callable, Collection, Iterable

from matching.domain.engine.text import VALUE_MIN, Named, Text, whole_forms


def names_missing(text: Text, named: Named, numbers: Iterable[str], known: Callable[[str], Collection[object]]) -> bool:
    """Whether something in the text begins as one of these numbers, is as long, and names nothing that is `known`."""
    taken = {at for hit in named.hits for at in range(hit.span.start, hit.span.end)}
    free = [
        value
        for value, spans in text.runs.items()
        if len(value) >= VALUE_MIN and any(not span.other and taken.isdisjoint(range(span.start, span.end)) for span in spans)
    ]
    forms = {_form(value) for number in numbers for value in whole_forms(number)} if free else set()
    return any(_form(value) in forms and not known(value) for value in free)


def _form(value: str) -> tuple[int, str]:
    """The length of a folded number, and its first half: how a seller's numbers of about the same time are alike."""
    return len(value), value[: len(value) // 2]
