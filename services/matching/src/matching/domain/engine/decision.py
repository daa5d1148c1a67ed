"""What is done with the readings: automatic where that is certain, else for a person with candidates, else nothing.

Some readings are never automatic, however probable the model finds them; each such rule says why in the words that are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import expm1, log1p

from matching.domain.engine.confidence import Model
from matching.domain.engine.features import NAMES, TWICE_DAYS
from matching.domain.engine.hypotheses import LIST_MIN
from matching.domain.engine.payment_runs import LONG_RUN
from matching.domain.engine.records import ADVANCE, BY_PARENT, COMPLETED, LEARNED, NAMED, NO_RECEIVABLE, RUNS, Hypothesis, Line
from matching.domain.engine.text import DIGITS, NEAR, SHORT
from matching.domain.engine.ties import LISTED

SHOWN = 5
"""Candidates that are shown for a payment."""
TIED = "another item of the same amount would do as well"
WHOLE = ("exact", "charges_stated", "exchanged")
SURE = 0.95
"""Least confidence of a learnt reading that is automatic, whatever is proven of all together."""
SURE_OF_SEVERAL = 0.98
"""The same where nothing is named and others of the payer's items come to the sum, too: how seldom they are meant is learnt from few."""
ODDS_SURE = 0.17
"""Odds against a set of withheld items up to which it is automatic, where the threshold allows it."""
DESIGNATED = 0.98
"""Confidence of what the payer names in full, at least."""
KNOWN = 0.85
"""Evidence by which a payer is known: an IBAN, or a name that is the customer's or the beginning of it."""
ODDS_MAX = log1p(1e6 * ODDS_SURE)
"""Most odds against a set of withheld items."""
LEAST_DOUBT = 1e-9
"""What no model is surer than."""
WHOLE_CENT = 100
"""One minor unit, in hundredths."""
NOT_ITS_ACCOUNT = "was not paid to its virtual IBAN"
REVIEW_MIN = 0.02
"""A best reading less probable than this is none."""


@dataclass(slots=True)
class Decision:
    """`auto`, `review` or `unmatched`, the readings by probability (for a person with those that are alike), and why the first is not
    automatic or the second lost.
    """

    kind: str
    confidence: float
    ranked: list[Hypothesis] = field(default_factory=list)
    refused: str | None = None
    runner_up: str | None = None


def judge(hypotheses: Sequence[Hypothesis], model: Model) -> None:
    """Gives each reading its confidence: the learnt one; for a payment run, which is too rare to learn, that of its own odds."""
    simple = any(
        one.rule.split(":")[0] in {"document_number", "exact_amount", "run_of_items"} and one.rule.endswith(WHOLE) and not _long_run(one)
        for one in hypotheses
    )
    named = [one for one in hypotheses if _names_all(one) and not (_short(one) and any(_with_credit(one, other) for other in hypotheses))]
    runs = []
    for one in hypotheses:
        if one.rule == NO_RECEIVABLE:  # it says itself how sure it is
            continue
        one.confidence = model.probability(one.features) if one.rule != ADVANCE else DESIGNATED
        if not simple and one.rule.split(":")[0] in RUNS:
            odds = expm1(_values(one)["chance"]) / 1e6
            one.confidence = max(one.confidence, 1 / (1 + odds)) if odds <= ODDS_SURE else min(one.confidence, 1 / (1 + odds))
            runs.append(one.confidence)
    for one in hypotheses:
        if runs and _long_run(one):
            one.confidence = min(one.confidence, *runs, 1 - max(runs))  # were it as likely, it would be among them
    best = max((_values(one)["money"] for one in named), default=0.0)
    clear = [one for one in named if _values(one)["money"] == best]  # an exact sum, or one less known charges, is no part
    if len(clear) == 1 and designated(clear[0]):
        clear[0].confidence = max(clear[0].confidence, DESIGNATED)
        for one in hypotheses:
            if one is not clear[0]:
                one.confidence = min(one.confidence, 1 - DESIGNATED)


def _long_run(one: Hypothesis) -> bool:
    return one.rule.split(":")[0] in {"run_of_items", "completed_list"} and len(one.lines) >= LONG_RUN


def designated(one: Hypothesis) -> bool:
    """Whether a payer who is known, or its parent, names just these items in full: that beats every guess.

    It does not where there is a doubt about it: which item is paid is clear, what is owed of it, or of others, is not.
    """
    value = _values(one)
    return (
        _names_all(one)
        and not one.doubt
        and (value["virtual_iban"] + value["own_iban"] + value["learned_iban"] + value["name"] >= KNOWN)
        and (not value["rival"] or value["via_parent"] > 0)
    )


def _names_all(one: Hypothesis) -> bool:
    """Whether the payer, whoever it is, names just these items in full."""
    value = _values(one)
    rule, money = one.rule.split(":")
    return bool(
        rule == "document_number"
        and money not in {"over", "short_round", "rate_short"}
        and value["weakest_name"] >= DIGITS
        and not (value["named_left_out"] or value["weakly_named_left_out"] or value["settled_named"] or value["others_named"])
        and not (value["tied_names"] or value["not_named"])
    )


def _short(one: Hypothesis) -> bool:
    return one.rule.endswith(":short")


def decide(hypotheses: Sequence[Hypothesis], threshold: float) -> Decision:
    """Ranks judged readings and decides. `threshold` is the least confidence that is automatic; 1: nothing is."""
    ranked = sorted(hypotheses, key=lambda one: (-one.confidence, one.key()))
    if not ranked or ranked[0].confidence < REVIEW_MIN:
        return Decision("unmatched", 0.0, _shown(ranked))
    confidence = certainty(ranked)
    refused = never_automatic(ranked)
    kind = "auto" if refused is None and sure_enough(ranked, threshold) and threshold < 1 else "review"
    if kind == "review" and refused is None:
        refused = "not sure enough"
    shown = _shown(ranked) if kind == "review" else _told(ranked[:SHOWN])
    return Decision(kind, confidence, shown, refused if kind == "review" else None, shown[1].lost if len(shown) > 1 else None)


def _shown(ranked: Sequence[Hypothesis]) -> list[Hypothesis]:
    """What a person is to choose from: each reading, then those that are alike, which are as probable; SHOWN at most."""
    found: list[Hypothesis] = []
    seen = {one.key() for one in ranked}
    for one in ranked[:SHOWN]:
        found.append(one)
        for other in one.alike:
            if (key := other.key()) not in seen:
                seen.add(key)
                other.confidence, other.lost = one.confidence, _why_alike_lost(one, other)
                found.append(other)
    return _told(found[:SHOWN])


def _told(shown: list[Hypothesis]) -> list[Hypothesis]:
    """Says of each reading but the first why that goes before it."""
    for one in shown[1:]:
        one.lost = one.lost or _why_lost(shown[0], one)
    return shown


def _why_alike_lost(first: Hypothesis, other: Hypothesis) -> str:
    """Why of two readings that settle items of the same amounts, or nearly, the first is the first."""
    if sorted(line.cents for line in first.lines) != sorted(line.cents for line in other.lines):
        return "another item is about as near the amount"
    dues, others = (sorted(line.item.due_date for line in one.lines) for one in (first, other))
    return "an item of the same amount is due sooner" if dues < others else TIED


def sure_enough(ranked: Sequence[Hypothesis], threshold: float) -> bool:
    """Whether the first reading reaches the threshold; what is learnt has to be SURE, too: only a payment run's odds are exact."""
    best = ranked[0]
    least = SURE if not best.lines or _named(_values(best)) or not _values(best)["other_readings"] else SURE_OF_SEVERAL
    return certainty(ranked) >= (threshold if best.rule.split(":")[0] in RUNS else max(threshold, least))


def certainty(ranked: Sequence[Hypothesis]) -> float:
    """How sure the first reading is, as only one can be right: its odds beside those of all others. Payment runs share one probability."""
    first, *others = ranked
    if first.rule.split(":")[0] in RUNS:
        others = [one for one in others if one.rule.split(":")[0] not in RUNS]
    return _odds(first) / (1 + _odds(first) + sum(_odds(one) for one in others))


def _odds(one: Hypothesis) -> float:
    return one.confidence / max(1 - one.confidence, LEAST_DOUBT)


def never_automatic(ranked: Sequence[Hypothesis]) -> str | None:  # noqa: C901, PLR0911, PLR0912 - one line per rule
    """Why the first reading may not be carried out without a person, whatever its probability; None where it may."""
    best = ranked[0]
    if best.rule in {ADVANCE, NO_RECEIVABLE}:
        return best.doubt  # it says so itself, and who pays is known
    value = _values(best)
    rule, money = best.rule.split(":")
    known = (
        _payer_known(value) or value["customer_number"] or value["party_by_document"] >= 1 or value["reference"] > 0
        or (value["party_by_amount"] >= 1 and value["weakest_name"] >= SHORT and not best.unread)
    )  # fmt: skip
    named = _named(value)
    if not known:
        return "nobody knows the payer"
    if best.doubt:
        return best.doubt
    if value["named_left_out"] > 0:
        return "the payer names an open item that this leaves out"
    if value["weakest_name"] <= 0 and value["reference"] <= 0 and any(_contested(line) for line in best.lines):
        return "what is disputed is paid only where it is named"
    if rule in {"only_item", "instalment", "promised", "near_amount"}:
        return "a part of an item that nobody named is a guess"
    if (
        (money in {"short", "over"} or (money == "percent" and named))
        and (value["weakest_name"] < SHORT or value["tied_names"] or value["settled_named"])
        and value["reference"] <= 0
    ):
        return "a part of an item that is not named clearly is a guess"
    if money in {"short", "over"} and not _payer_known(value):
        return "the amount is not that of the item, and the payer is not its customer: the number may be written wrong"
    if rule == "document_number" and money in {"short", "short_round", "over"} and any(_costs_the_sum(one, best) for one in ranked):
        return "the sum is what another item costs: the payer may have named the wrong one"
    if rule == "document_number" and money in {"short", "over"} and any(_names_alike(one, best) for one in ranked):
        return "the number is that of another one's item, too, and the amount is not this one's"
    if (_short(best) or money == "charges") and any(_with_credit(best, other) for other in ranked):
        return "an open credit note makes up for what is missing"
    if money == "rate" and any(_with_credit(best, other) for other in ranked):
        return "with an open credit note the exchange rate would be more like those seen"
    if money == "over" and value["weakly_named_left_out"]:
        return "the payer names an open item that this leaves out"
    guessed = money in {"short", "over", "rate"} or (money == "percent" and not named)
    if best.unread and guessed and value["reference"] <= 0:
        return "the payer names something else that nobody can read"
    if guessed and value["others_named"] and value["reference"] <= 0:
        return "the payer names somebody else's item, too: its number may be mistyped, and what is over or missing that item's"
    if money == "short_round":
        return "what is missing may be a bank's charge, or a discount that nobody offered"
    if money == "rate_short" or (money == "rate" and value["weakest_name"] < SHORT):
        return "the exchange rate is not known"
    if money == "charges" and value["weakest_name"] < SHORT:
        return "charges that nobody stated"
    if money == "charges" and value["discounted"]:
        return "charges that nobody stated, beside a discount: what is missing may be neither"
    if money == "charges" and any(_is_discount(line, best.lines) for line in best.lines):
        return "what is missing may be the discount of one of the items"
    if value["reference"] < 0 and not value["named_share"]:
        return "the reference is of none of these items"
    if not named and (best.tie or (value["equal_items"] and value["anything_named"])):
        return TIED
    if value["advance"] and (not named or value["not_named"]):
        return "the payer calls it, or a part of it, an advance"
    if not named and value["paid_same_days"] in TWICE_DAYS:
        return "the same amount was paid just before: it may be paid twice"
    if not named and value["others_named"] > 0:
        return "the payer names somebody else's item"
    if not named and best.missing:
        return "the payer names a document that is not there"
    if not named and value["settled_named"] > 0:
        return "the payer names what is settled"
    if rule in COMPLETED and value["anything_named"] and best.tie:
        return TIED
    if rule in LISTED and len(best.lines) > 1 and best.tie and value["reference"] <= 0:
        return "a number of the list may be mistyped for another item of an amount"
    if rule == "run_but_some" and (value["weakly_named_left_out"] or value["named_share"] * len(best.lines) >= LIST_MIN):
        return "the payer lists items, and this is not as the list says"
    if rule in RUNS and any(_is_all_of_run(other, best) for other in ranked[1:]):
        return "all that is due comes to the sum, too"
    if rule in RUNS and value["chance"] > ODDS_MAX:
        return "other sets of withheld items come to the same sum"
    unclear = value["tied_names"] or value["weakest_name"] < NEAR or value["others_named"]  # another's number may be its item's, mistyped
    if value["equal_items"] and named and unclear and value["reference"] <= 0:
        return "what is named fits several items of the same amount"
    if not named and any(other.rule.startswith("instalment") for other in ranked[1:]):
        return "it may as well be an instalment of another item"
    for other in ranked[1:3]:
        if other.confidence > best.confidence * 0.5 and not named:
            return "another reading is as good"
    return None


def _with_credit(part: Hypothesis, other: Hypothesis) -> bool:
    """Whether the other reading settles what this one settles, in part or at a rate, and but for that only credit notes, to the cent or at
    a rate, too.
    """
    items = {line.item.item_id for line in part.lines}
    rest = [line for line in other.lines if line.item.item_id not in items]
    return bool(
        other.customer_id == part.customer_id and other.rule.split(":")[-1] in (*WHOLE, "rate") and len(rest) < len(other.lines) and rest
        and all(line.cents < 0 for line in rest)
    )  # fmt: skip


def _costs_the_sum(other: Hypothesis, part: Hypothesis) -> bool:
    """Whether the other reading settles, without a word, one item or a run of them, none of which is in this one: to the cent, or but for
    a bank's charge or for rounding.
    """
    rule, money = other.rule.split(":") if other.lines else ("", "")
    items = {line.item.item_id for line in part.lines}
    return bool(
        rule in {"exact_amount", "run_of_items"} and money in (*WHOLE, "charges", "rounding") and other.customer_id == part.customer_id
        and not any(line.item.item_id in items for line in other.lines)
    )  # fmt: skip


def _names_alike(other: Hypothesis, part: Hypothesis) -> bool:
    """Whether what the payer names is as much an item of somebody else who may well have paid."""
    if not other.lines or other.customer_id == part.customer_id or not other.rule.startswith("document_number:"):
        return False
    value = _values(other)
    return _payer_known(value) and value["weakest_name"] >= _values(part)["weakest_name"]


def _is_all_of_run(other: Hypothesis, run: Hypothesis) -> bool:
    """Whether the other reading settles what lies between in due order, to the cent, where a payment run leaves some out."""
    rule, money = other.rule.split(":")
    return rule == "run_of_items" and money in WHOLE and len(other.lines) > len(run.lines)


def _is_discount(line: Line, lines: Sequence[Line]) -> bool:
    """Whether the charges that a line bears are the discount that was offered on one of the items, taken on that one alone."""
    return line.reason == "bank_charges" and any(
        one.item.discount_percent and abs(one.item.open_minor * one.item.discount_percent - line.diff_cents * 100) <= WHOLE_CENT
        for one in lines
    )


def _named(value: Mapping[str, float]) -> bool:
    """Whether the payer names any of the items, or their reference."""
    return value["named_share"] > 0 or value["reference"] > 0


def _payer_known(value: Mapping[str, float]) -> bool:
    """Whether account or name, its parent's too, say who paid, without what the text names."""
    return bool(
        value["virtual_iban"] or value["own_iban"] or max(value["learned_iban"], value["learned_name"]) >= LEARNED
        or value["name"] >= NAMED * (BY_PARENT if value["via_parent"] else 1)
    )  # fmt: skip


def contributions(model_steps: Mapping[str, float]) -> list[tuple[str, float]]:
    """What moved the confidence most, either way, strongest first."""
    return sorted(((name, step) for name, step in model_steps.items() if step), key=lambda pair: -abs(pair[1]))[:8]


def _why_lost(one: Hypothesis, other: Hypothesis) -> str:
    """Where the first of two readings has more evidence than the second, in words."""
    first, second = _values(one), _values(other)
    told = {
        "named_share": "names fewer of its items", "reference": "is not what the reference names", "money": "the amount agrees less",
        "own_iban": "is not known by this IBAN", "virtual_iban": NOT_ITS_ACCOUNT, "name": "the name agrees less",
        "structure": "is a less simple set",
    }  # fmt: skip
    for name, words in told.items():
        if first[name] > second[name]:
            return words
    if second["chance"] > first["chance"]:
        return "more likely to add up by accident"
    if second["named_left_out"] > first["named_left_out"]:
        return "leaves out what is named"
    if one.confidence == other.confidence:
        return "is as probable"
    return "is less probable in the history of such payments"


def _contested(line: Line) -> bool:
    """Whether a line takes more than what is not in dispute of its item."""
    return line.item.contested_minor > 0 and line.cents > line.item.open_minor - line.item.contested_minor


def _values(one: Hypothesis) -> dict[str, float]:
    return dict(zip(NAMES, one.features, strict=True))
