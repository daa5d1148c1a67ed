"""How probable a reading is: a sum of small monotone trees over the evidence, learnt from a history, evaluated here in plain Python.

Each split's share of the outcome goes to the evidence it looks at, so a confidence comes with what moved it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, inf, nan
from typing import Any

from matching.domain.engine.features import NAMES

Tree = tuple[list[int], list[float], list[int], list[int], list[float]]
"""By node: evidence looked at (-1 in a leaf), limit, node where it is at most that, node where it is more, value (log-odds)."""


class ModelError(ValueError):
    """A stored model that this engine cannot use."""


@dataclass(slots=True)
class Model:
    """A learnt confidence and the least of it that is automatic. `name` says which history it was learnt from."""

    name: str
    base: float
    trees: list[Tree]
    threshold: float

    _log_odds: Callable[[Sequence[float]], float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._log_odds = _compiled(self.base, self.trees)

    def probability(self, features: Sequence[float]) -> float:
        """The probability that a reading with this evidence is right, 0 to 1."""
        total = self._log_odds(features)
        return 1.0 / (1.0 + exp(-total)) if total > -500 else 0.0  # noqa: PLR2004 - exp's range

    def explained(self, features: Sequence[float]) -> dict[str, float]:
        """What each piece of evidence added to the log-odds or took from them; those that moved nothing are left out."""
        steps = [0.0] * len(NAMES)
        for at, limits, left, right, values in self.trees:
            node, looked = 0, at[0]
            while looked >= 0:
                following = left[node] if features[looked] <= limits[node] else right[node]
                steps[looked] += values[following] - values[node]
                node, looked = following, at[following]
        return {name: step for name, step in zip(NAMES, steps, strict=True) if abs(step) > 0.005}  # noqa: PLR2004 - rounds to 0.01

    def as_dict(self) -> dict[str, Any]:
        """The model as JSON can hold it."""
        return {
            "name": self.name,
            "evidence": list(NAMES),
            "base": self.base,
            "threshold": self.threshold,
            "trees": [list(tree) for tree in self.trees],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Model":
        """A stored model. Raises ModelError where it was learnt on other evidence than this engine gathers."""
        if list(stored.get("evidence", ())) != list(NAMES):
            raise ModelError("the model was learnt on other evidence: learn it again with `matching fit`, a tenant's with `matching learn`")
        trees = [
            (
                list(map(int, tree[0])),
                list(map(float, tree[1])),
                list(map(int, tree[2])),
                list(map(int, tree[3])),
                list(map(float, tree[4])),
            )
            for tree in stored["trees"]
        ]
        return cls(str(stored["name"]), float(stored["base"]), trees, float(stored["threshold"]))


def _compiled(base: float, trees: Sequence[Tree]) -> Callable[[Sequence[float]], float]:
    """The sum of the trees as one Python function of nothing but comparisons: a quarter of what walking through the lists takes."""

    def source(tree: Tree, node: int = 0) -> str:
        at, limits, left, right, values = tree
        if at[node] < 0:
            return repr(float(values[node]))
        return f"({source(tree, left[node])} if e{int(at[node])} <= {float(limits[node])!r} else {source(tree, right[node])})"

    evidence = ", ".join(f"e{place}" for place in range(len(NAMES)))
    lines = ["def log_odds(evidence):", f" {evidence} = evidence", f" total = {float(base)!r}"]
    lines += [f" total += {source(tree)}" for tree in trees]
    made: dict[str, Any] = {"inf": inf, "nan": nan}  # how repr writes them
    exec("\n".join([*lines, " return total"]), made)  # noqa: S102 - made of numbers alone
    return made["log_odds"]  # type: ignore[no-any-return]
