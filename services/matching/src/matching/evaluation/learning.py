"""Learning a confidence from cases: gradient-boosted trees held to the signs of the evidence. The only place that needs scikit-learn."""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from matching.domain.engine.confidence import Model, Tree
from matching.domain.engine.decision import judge
from matching.domain.engine.features import NAMES, SIGN
from matching.evaluation.protocol import Case

FOLDS = 5


def fit(cases: Sequence[Case], name: str) -> Model:
    """A model of these cases, with threshold 1: nothing is automatic until a threshold is certified. Deterministic."""
    learnt = [pair for case in cases for pair in zip(case.found.hypotheses, case.right, strict=True) if pair[0].lines]
    evidence = np.array([one.features for one, _ in learnt], dtype=np.float64)
    right = np.array([is_right for _, is_right in learnt], dtype=np.int8)
    if len(set(right.tolist())) < 2:  # noqa: PLR2004 - right and wrong
        return Model(name, -10.0 if not right.any() else 10.0, [], 1.0)
    with threadpool_limits(limits=1):  # small trees: threads cost more than they save, and the sums stay in one order
        fitted = learner().fit(evidence, right)
    # The trees are read from the fitted learner: scikit-learn has no public way to them, so a test compares both.
    trees = [_tree(predictors[0].nodes) for predictors in fitted._predictors]  # noqa: SLF001
    return Model(name, float(fitted._baseline_prediction.ravel()[0]), trees, 1.0)  # noqa: SLF001


def learner() -> HistGradientBoostingClassifier:
    """The learner, unfitted: small trees, each on part of the evidence, none against the sign of its evidence."""
    return HistGradientBoostingClassifier(
        max_iter=300, learning_rate=0.06, max_leaf_nodes=12, min_samples_leaf=8, l2_regularization=2.0, max_features=0.4,
        monotonic_cst=[SIGN[one] for one in NAMES], early_stopping=False, random_state=0,
    )  # fmt: skip


def _tree(nodes: np.ndarray) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    values = nodes["value"].astype(float).tolist()
    counts = nodes["count"].astype(float).tolist()
    left, right = nodes["left"].astype(int).tolist(), nodes["right"].astype(int).tolist()
    for at in range(len(values) - 1, -1, -1):  # an inner node's value is the mean of what is below it
        if not leaf[at]:
            a, b = left[at], right[at]
            values[at] = (values[a] * counts[a] + values[b] * counts[b]) / (counts[a] + counts[b])
    looked = [-1 if leaf[at] else int(nodes["feature_idx"][at]) for at in range(len(values))]
    limits = [0.0 if leaf[at] else float(nodes["num_threshold"][at]) for at in range(len(values))]
    return looked, limits, left, right, [round(one, 6) for one in values]


def fold(case: Case) -> int:
    """Which part of a cross-fit a case belongs to: all of one customer's are in one, so that no customer is on both sides."""
    return crc32(str(case.truth.customer_id or case.clues.debtor_name or case.clues.payment_id).encode()) % FOLDS


def _folds(cases: Sequence[Case]) -> list[int]:
    """The part of each case; by payment instead, where a history has too few customers to part them."""
    parts = [fold(case) for case in cases]
    if min(parts.count(part) for part in range(FOLDS)) * FOLDS * 2 >= len(cases):
        return parts
    return [crc32(str(case.clues.payment_id).encode()) % FOLDS for case in cases]


def cross_fitted(cases: Sequence[Case], name: str) -> list[Case]:
    """Judges each case by a model that was not fitted on its customer, or its payment; returns the cases."""
    parts = _folds(cases)
    for part in range(FOLDS):
        model = fit([case for case, other in zip(cases, parts, strict=True) if other != part], name)
        for case, other in zip(cases, parts, strict=True):
            if other == part:
                judge(case.found.hypotheses, model)
    return list(cases)
