"""`matching evaluate`: the engine on a folder, and what came of it as one JSON object."""

import gc
import json
import resource
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TextIO

from matching.domain.engine.confidence import Model
from matching.domain.engine.decision import Decision, certainty, contributions, decide, judge, never_automatic, sure_enough
from matching.domain.engine.features import NAMES
from matching.domain.engine.habits import Past
from matching.domain.engine.records import NOBODY
from matching.evaluation.certificate import CONFIDENCE, Certificate, certify
from matching.evaluation.history import HistoryError, read_history
from matching.evaluation.learning import cross_fitted, fit
from matching.evaluation.protocol import Case, cases
from matching.storage.models import shipped

LEARNT_MIN = 2_000
"""Fewest payments that a model is learnt from: of fewer, the shipped one knows better how payments are made."""
PROVEN_MIN = 300
"""Fewest of a tenant's own payments that its threshold is proven on."""


@dataclass(slots=True)
class Tally:
    """Counts of one group of payments, and their amounts."""

    payments: int = 0
    auto: int = 0
    auto_correct: int = 0
    auto_wrong: int = 0
    review: int = 0
    review_top1_correct: int = 0
    review_top3_correct: int = 0
    unmatched: int = 0
    amounts: dict[str, int] = field(default_factory=dict)

    def add(self, case: Case, decision: Decision) -> None:
        """Counts one payment."""
        rights = {id(one) for one, right in zip(case.found.hypotheses, case.right, strict=True) if right} | {
            id(one) for one in case.right_alike
        }
        ranks = [id(one) in rights for one in decision.ranked]
        self._count("payments", case)
        self._count(decision.kind, case)
        if decision.kind == "auto":
            self._count("auto_correct" if ranks[0] else "auto_wrong", case)
        elif decision.kind == "review":
            if ranks[:1] == [True]:
                self._count("review_top1_correct", case)
            if any(ranks[:3]):
                self._count("review_top3_correct", case)

    def _count(self, name: str, case: Case) -> None:
        setattr(self, name, getattr(self, name) + 1)
        self.amounts[name] = self.amounts.get(name, 0) + case.clues.amount_minor

    def counts(self) -> dict[str, int]:
        """The counts by name."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "amounts"}

    def minor(self) -> dict[str, int]:
        """The amounts by name, in minor units."""
        return {name: self.amounts.get(name, 0) for name in self.counts()}


def calibrated(train: list[Case], name: str) -> tuple[Model, Certificate]:
    """A model of the train part with the threshold that its cross-fitted scores prove. Of too few payments none is learnt: then
    it is the shipped one, with the threshold that its scores on these prove.
    """
    return _learnt(train, name) if sum(not case.made for case in train) >= LEARNT_MIN else _shipped(train)


def chosen(own: list[Case], past: Past, name: str) -> tuple[Model, Certificate]:
    """Of the shipped model and, where they are enough, one of these cases: the one that settles more of them, each from the threshold on
    that its scores on these prove, with the `past` that they tell. Raises HistoryError where they are too few to prove anything.

    What either proves may err, so of two each is held to half of the error (Bonferroni): the better one is then proven at CONFIDENCE.
    """
    if len(own) < PROVEN_MIN:
        raise HistoryError(f"{len(own)} settled payments that the engine has read are too few: at least {PROVEN_MIN} are needed")
    if len(own) < LEARNT_MIN:
        found = [_shipped(own)]
    else:
        confidence = (1 + CONFIDENCE) / 2
        found = [_shipped(own, confidence), _learnt(own, name, confidence)]
    model, certificate = max(found, key=lambda one: one[1].automatic)
    certificate.past = past.as_list()
    model.name = _named(model.name.partition("@")[0], model, certificate)
    return model, certificate


def _shipped(train: list[Case], confidence: float = CONFIDENCE) -> tuple[Model, Certificate]:
    model = replace(shipped().model)
    for case in train:
        judge(case.found.hypotheses, model)
    return _certified(model, train, confidence)


def _learnt(train: list[Case], name: str, confidence: float = CONFIDENCE) -> tuple[Model, Certificate]:
    cross_fitted(train, name)
    return _certified(fit(train, name), train, confidence)


def _certified(model: Model, judged: list[Case], confidence: float) -> tuple[Model, Certificate]:
    """The model with the threshold that the confidences of the real ones among these cases prove."""
    real = [case for case in judged if not case.made]
    scores = []
    for case in real:
        ranked = sorted(zip(case.found.hypotheses, case.right, strict=True), key=lambda pair: (-pair[0].confidence, pair[0].key()))
        best = [one for one, _ in ranked]
        if best and never_automatic(best) is None and sure_enough(best, 0.0):
            scores.append((certainty(best), ranked[0][1]))
    certificate = certify(scores, len(real), confidence=confidence)
    model.threshold = certificate.threshold
    return model, certificate


def _named(name: str, model: Model, certificate: Certificate) -> str:
    """A name that no other model has, nor the same one with another certificate: a decision says which one it was."""
    return f"{name}@{sha256(json.dumps([model.base, model.trees, certificate.as_dict()]).encode()).hexdigest()[:8]}"


def evaluate(folder: Path, decisions: TextIO | None = None) -> dict[str, Any]:
    """Follows the protocol on a folder; figures are over its test part. Raises HistoryError where the folder cannot be read."""
    started = perf_counter()
    history = read_history(folder)
    train: list[Case] = []
    model: Model | None = None
    certificate: Certificate | None = None
    total = Tally()
    by_kind: dict[str, Tally] = {}
    times: list[float] = []
    work: list[float] = []
    for case in cases(history):
        if case.train:
            train.append(case)
            continue
        if model is None:
            model, certificate = calibrated(train, folder.name)
            train.clear()
            gc.collect()
            gc.freeze()  # the history is there to stay: looking through it again and again would be most of the slowest payments' time
        before, at_work = perf_counter(), process_time()
        judge(case.found.hypotheses, model)
        decision = decide(case.found.hypotheses, model.threshold)
        times.append(case.seconds + perf_counter() - before)
        work.append(case.worked + process_time() - at_work)
        total.add(case, decision)
        by_kind.setdefault(case.truth.kind, Tally()).add(case, decision)
        if decisions is not None:
            decisions.write(json.dumps(decided(case, decision, model), ensure_ascii=False) + "\n")
    times.sort()
    work.sort()
    counts = total.counts()
    return {
        **counts,
        "automatic_rate": _share(total.auto, total.payments),
        "precision": _share(total.auto_correct, total.auto),
        "automatic_value_rate": _share(total.amounts.get("auto", 0), total.amounts.get("payments", 0)),
        "by_amount": total.minor(),
        "by_kind": {kind: {**one.counts(), "by_amount": one.minor()} for kind, one in sorted(by_kind.items())},
        "certificate": certificate.as_dict() if certificate else None,
        "latency_ms": {"p50": _quantile(times, 0.5), "p99": _quantile(times, 0.99), "max": _quantile(times, 1.0)},
        "core_ms": {"p50": _quantile(work, 0.5), "p99": _quantile(work, 0.99), "max": _quantile(work, 1.0)},
        "seconds": round(perf_counter() - started, 1),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def decided(case: Case, decision: Decision, model: Model) -> dict[str, Any]:
    """One decision with its evidence, as a line of JSON."""
    best = decision.ranked[0] if decision.ranked and decision.kind == "auto" else None
    return {
        "payment_id": case.clues.payment_id,
        "decision": decision.kind,
        "allocations": _lines(best) if best else [],
        "confidence": round(decision.confidence, 6),
        "rule": decision.ranked[0].rule if decision.ranked else None,
        "refused": decision.refused,
        "runner_up": decision.runner_up,
        "candidates": [
            {
                "customer_id": None if one.customer_id == NOBODY else one.customer_id,
                "rule": one.rule,
                "confidence": round(one.confidence, 6),
                "lost": one.lost,
                "allocations": _lines(one),
                "evidence": {"set_apart": one.set_apart}
                if one.set_apart
                else {name: round(value, 4) for name, value in zip(NAMES, one.features, strict=True) if value},
                "moved_by": {name: round(step, 2) for name, step in contributions(model.explained(one.features))} if one.lines else {},
            }
            for one in decision.ranked
        ],
    }  # fmt: skip


def _lines(one: Any) -> list[dict[str, Any]]:
    return [
        {"invoice_id": line.item.item_id, "cents": line.cents, "diff_cents": line.diff_cents, "reason": line.reason} for line in one.lines
    ]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3) if ordered else None


def fitted(folders: Iterable[Path]) -> tuple[Model, Certificate]:
    """A model of whole histories, for a tenant or as the default. Raises HistoryError where they are too few to learn from."""
    every: list[Case] = []
    names = []
    for folder in folders:
        every += cases(read_history(folder))
        names.append(folder.name)
    if (count := sum(not case.made for case in every)) < LEARNT_MIN:
        raise HistoryError(f"{count} payments are too few to learn a model from: at least {LEARNT_MIN:,} are needed")
    model, certificate = calibrated(every, "+".join(names))
    model.name = _named(model.name, model, certificate)
    return model, certificate
