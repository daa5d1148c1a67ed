"""The threshold for automatic matching, with a bound on how often it is wrong.

Fixed-sequence testing: coverages are tested from a strict one to looser ones, in an order set before the data is seen; each
test asks whether the upper confidence limit (Clopper and Pearson 1934, one-sided) of the error rate at that coverage is within
the bound. The first failure ends the sequence, so the whole procedure errs with at most the stated probability, however many
coverages were tried (Maurer, Hothorn and Lehmacher 1995).

A sample of some hundred payments proves nothing so strict, and two errors among thousands would end the sequence at the second.
Where the sample alone does not carry it to the end, what the engine was right and wrong on before is counted in, too, and the
certificate says that the bound is not proven on the sample alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import exp, lgamma, log, log1p
from typing import Any

CONFIDENCE = 0.95
BOUND = 0.0009
"""Error rate that is not to be exceeded: what a train part of some thousand payments can prove."""
BEFORE = (1, 7_000)
"""Wrong ones and all that were automatic before: a fifth of those that certified the shipped model (3 of 34,245), rounded against it."""
LEAST = 0.85
"""No threshold is lower, whatever the sample proves on the whole: the last payments let in must be likely right, too."""
SHOWN = (0.86, 0.88, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.99, 0.995, 0.998)
"""Thresholds that the curve tells of."""
STEP = 0.001
"""Coverages are tested in steps of this share of all cases."""


@dataclass(slots=True)
class Certificate:
    """A threshold and what is proven of it. `upper_limit` bounds the error rate with probability `confidence`.

    `curve` says the same of other thresholds, each by itself: what was automatic, how much of it was wrong, and the limit. `past` is what
    a tenant's own payments tell beside it (`Past.as_list`).
    """

    procedure: str
    bound: float
    confidence: float
    sample: int
    automatic: int
    wrong: int
    upper_limit: float
    threshold: float
    certified: bool
    tested: int
    curve: list[dict[str, float]] = field(default_factory=list)
    past: list[Any] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The certificate as JSON can hold it."""
        return asdict(self)


def upper_limit(wrong: int, sample: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided Clopper-Pearson limit of an error rate, after `wrong` errors in `sample` cases; 1 where there are none."""
    if sample <= wrong:
        return 1.0
    low, high = wrong / sample, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(wrong, sample, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(wrong: int, sample: int, rate: float) -> float:
    """Probability of at most so many errors."""
    if rate >= 1:
        return 0.0
    if rate <= 0:
        return 1.0
    total = 0.0
    for count in range(wrong + 1):
        ways = lgamma(sample + 1) - lgamma(count + 1) - lgamma(sample - count + 1)
        total += exp(ways + count * log(rate) + (sample - count) * log1p(-rate))
    return total


def _least(wrong: int, bound: float, confidence: float) -> int:
    """The smallest sample in which so many errors still prove the bound."""
    low, high = 1, 2
    while upper_limit(wrong, high, confidence) > bound:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        if upper_limit(wrong, middle, confidence) <= bound:
            high = middle
        else:
            low = middle + 1
    return high


def _point(ordered: Sequence[tuple[float, bool]], errors: Sequence[int], threshold: float, confidence: float) -> dict[str, float]:
    count = sum(1 for score, _ in ordered if score >= threshold)
    wrong = errors[count]
    return {"threshold": threshold, "automatic": count, "wrong": wrong, "upper_limit": round(upper_limit(wrong, count, confidence), 6)}


def certify(scores: Sequence[tuple[float, bool]], sample: int, bound: float = BOUND, confidence: float = CONFIDENCE) -> Certificate:
    """The loosest threshold that the sequence reaches. `scores` are (confidence, right) of what may be automatic, of `sample` cases."""
    procedure = (
        f"fixed-sequence test of coverages in steps of {STEP:.1%} of the sample, from the least that passes with one error to a "
        f"threshold of {LEAST}; one-sided Clopper-Pearson limit at {confidence:.3g}; each scored by a model that was not fitted on it"
    )
    ordered = sorted(scores, key=lambda pair: (-pair[0], pair[1]))
    errors = [0]
    for _, right in ordered:
        errors.append(errors[-1] + (not right))
    curve = [_point(ordered, errors, one, confidence) for one in SHOWN]
    most = sum(score >= LEAST for score, _ in ordered)
    step = max(1, int(sample * STEP))
    # One error must be bearable at the first test, or a single early one would end every sequence.
    count, tested = _sequence(ordered, errors, range(_least(1, bound, confidence), most, step), most, bound, confidence)
    if count < most or not count:
        procedure += (
            f"; with {BEFORE[1]:,} payments of other sellers counted in, {BEFORE[0]} of them wrong: the sample alone does not prove it"
        )
        count, tested = _sequence(ordered, errors, range(0, most, step), most, bound, confidence, BEFORE)
    threshold = LEAST if count == most else ordered[count - 1][0] if count else 1.0  # the last test is of all that are so sure
    limit = upper_limit(errors[count], count, confidence)
    return Certificate(
        procedure, bound, confidence, sample, count, errors[count], limit, threshold, certified=limit <= bound, tested=tested, curve=curve
    )


def _sequence(
    ordered: Sequence[tuple[float, bool]], errors: Sequence[int], counts: range, most: int, bound: float, confidence: float,
    before: tuple[int, int] = (0, 0),
) -> tuple[int, int]:  # fmt: skip
    """The last of the counts, and of `most` at their end, that passes before one fails, 0 where none does; and how many were tested.

    A threshold lets in all of one score or none: each count is tested with all that have the score of its last.
    """
    passed = tested = 0
    for count in [*counts, *([most] if most >= counts.start else [])]:
        if count and count <= passed:
            continue
        end = count
        while 0 < end < most and ordered[end][0] == ordered[end - 1][0]:
            end += 1
        tested += 1
        if upper_limit(errors[end] + before[0], end + before[1], confidence) > bound:
            break
        passed = end
    return passed, tested
