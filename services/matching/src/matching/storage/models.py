"""The model that is shipped with the service: learnt confidence, threshold and certificate, as `matching fit` writes them."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from matching.domain.engine.confidence import Model


@dataclass(frozen=True, slots=True)
class Shipped:
    """A model with what is proven of its threshold (`evaluation.certificate`)."""

    model: Model
    certificate: dict[str, Any]


@cache
def shipped() -> Shipped:
    """The default model, read and checked once. Raises ModelError where it was learnt on other evidence than this engine gathers."""
    held = json.loads(files("matching").joinpath("models/default.json").read_text(encoding="utf-8"))
    return Shipped(Model.from_dict(held), held["certificate"])
