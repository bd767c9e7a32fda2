"""The mixture of the training data: weights by origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import MIXTURE, WEIGHTS, flat
from slimseq.evaluation.dataset_files import Example


@flat(MIXTURE)
@dataclass(frozen=True)
class Mixture:
    """How examples are drawn. A weight says how often a pass sees an example: 3 is three times, 0.5 every other one."""

    weights: Annotated[Mapping[str, float], WEIGHTS] = field(default_factory=dict)
    """Weight of the examples of an origin, as NAME=NUMBER. Repeatable. Origins without a weight have 1."""

    def __post_init__(self) -> None:
        for origin, weight in self.weights.items():
            if weight < 0:
                raise BadParameters(f"the weight of {origin} is {weight:g}; it must be at least 0")

    def record(self) -> dict[str, Any]:
        """Returns the options that differ from the default, which uses every example once."""
        return {"weights": dict(self.weights)} if self.weights else {}


def mixed(examples: Sequence[Example], mixture: Mixture, seed: int) -> list[Example]:
    """Returns the examples of one pass, in an order that is the same for the same seed."""
    known = {example.origin for example in examples}
    for origin in mixture.weights:
        if origin not in known:
            origins = ", ".join(sorted(origin for origin in known if origin)) or "none"
            raise BadParameters(f"no training example has the origin {origin!r}; origins that occur: {origins}")
    result: list[Example] = []
    for example, chance in zip(examples, np.random.default_rng(seed).random(len(examples)), strict=True):
        weight = mixture.weights.get(example.origin or "", 1.0)
        # The fraction of a weight is the probability of one more repetition.
        repetitions = int(weight) + int(chance < weight % 1)
        result += [example] * repetitions
    return result
