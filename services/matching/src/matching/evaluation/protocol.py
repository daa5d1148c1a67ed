"""The protocol: payments in booking order; only invoices issued by then; the ledger put right after each; learning from what is past."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter, process_time

from matching.domain.engine.habits import Learnt
from matching.domain.engine.index import Index
from matching.domain.engine.records import ADVANCE, NOBODY, Clues, Hypothesis, Id, Line, OpenItem
from matching.domain.engine.search import Found, search
from matching.evaluation.history import History, Truth

Items = Mapping[Id, OpenItem]


@dataclass(slots=True)
class Case:
    """One payment as it was seen: its readings, which of them are right, how long the search took and how long it had a core.

    `right_alike` are right ones of those that are shown beside a reading because they are alike.
    `made` is one of the train part with its text taken away: more to learn from how payers pay without a word, not to certify by.
    """

    clues: Clues
    truth: Truth
    found: Found
    right: list[bool]
    seconds: float
    train: bool
    made: bool = False
    worked: float = 0.0
    right_alike: list[Hypothesis] = field(default_factory=list)


def cases(history: History) -> Iterator[Case]:
    """Runs through the history, in order."""
    index = Index(history.customers)
    learnt = Learnt()
    items = {item.item_id: item for item in history.invoices}
    waiting = iter(history.invoices)
    upcoming = next(waiting, None)
    for clues in history.payments:
        while upcoming is not None and upcoming.issue_date <= clues.booking_date:
            index.add_item(upcoming)
            upcoming = next(waiting, None)
        truth = history.truth[str(clues.payment_id)]
        started, worked = perf_counter(), process_time()
        found = search(clues, index, learnt)
        seconds, worked = perf_counter() - started, process_time() - worked
        true = true_key(truth, items)
        yield Case(
            clues,
            truth,
            found,
            [is_right(one, truth, true) for one in found.hypotheses],
            seconds,
            str(clues.payment_id) in history.train,
            worked=worked,
            right_alike=[other for one in found.hypotheses for other in one.alike if is_right(other, truth, true)],
        )
        if str(clues.payment_id) in history.train and not truth.no_reference and (clues.remittance or clues.structured_reference):
            yield _silent(clues, truth, index, learnt, items)
        _correct(found, clues, truth, index, learnt, items)


def _silent(clues: Clues, truth: Truth, index: Index, learnt: Learnt, items: Items) -> Case:
    silent = replace(clues, remittance=(), structured_reference=None, end_to_end_id=None)
    wordless = replace(truth, no_reference=True)
    found = search(silent, index, learnt)
    true = true_key(wordless, items)
    return Case(silent, wordless, found, [is_right(one, wordless, true) for one in found.hypotheses], 0.0, train=True, made=True)


def true_key(truth: Truth, items: Items) -> object:
    """What is right: {invoice: cents}; where nothing was named, equal open amounts of a customer stand for each other."""
    if truth.no_reference:
        return Counter((items[line.invoice_id].customer_id, items[line.invoice_id].open_minor, line.cents) for line in truth.lines)
    return {line.invoice_id: line.cents for line in truth.lines}


def is_right(one: Hypothesis, truth: Truth, true: object) -> bool:
    """Whether a reading is right; to be asked before the ledger moves on."""
    if not one.lines:
        return not truth.lines and one.customer_id == (NOBODY if truth.customer_id is None else truth.customer_id)
    if truth.no_reference:
        return Counter((line.item.customer_id, line.item.open_minor, line.cents) for line in one.lines) == true
    return {line.item.item_id: line.cents for line in one.lines} == true


def _correct(found: Found, clues: Clues, truth: Truth, index: Index, learnt: Learnt, items: Items) -> None:
    lines = [Line(items[one.invoice_id], one.cents, one.diff_cents, one.reason) for one in truth.lines]
    if truth.customer_id is not None:
        mine = index.open.get(truth.customer_id, {})
        inside = {line.item.item_id for line in lines}
        last = max((line.item.due_date for line in lines), default=None)
        older = sum(
            1 for item in mine.values() if last is not None and item.open_minor > 0 and item.due_date < last and item.item_id not in inside
        )
        advance = any(one.rule == ADVANCE for one in found.hypotheses)
        learnt.learn(clues, truth.customer_id, lines, silent=truth.no_reference, older_left=older, advance=advance)
    elif not lines:
        learnt.learn(clues, None, [], silent=truth.no_reference, older_left=0)
    for line in lines:
        index.settle(line.item, line.cents)
