"""Which examples a run sees how often: weights by origin, and extractive targets beside the written ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compression.errors import BadParameters
from compression.training.extraction import extractive_summary
from evaluation.examples import Example


@dataclass(frozen=True)
class Mixture:
    """How examples are drawn.

    Args:
        weights: of an example, by its origin: 3 sees it three times a pass, 0.5 every other one of them, 0 none.
            Origins that are not named weigh 1.
        extract: origins whose examples come a second time, with a target made of their documents' own sentences.
        extract_prefix: text before those documents; None keeps each example's own.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    extract: Sequence[str] = ()
    extract_prefix: str | None = None

    def check(self) -> None:
        """Checks the weights.

        Raises:
            BadParameters: one is negative.
        """
        for origin, weight in self.weights.items():
            if weight < 0:
                raise BadParameters(f"the weight of {origin} is {weight:g}; it must be at least 0")


def mixed(examples: Sequence[Example], mixture: Mixture, seed: int) -> list[Example]:
    """Returns the examples of one pass, in an order that is the same for the same seed.

    Args:
        examples: what there is.
        mixture: how often each is to be seen.
        seed: decides which examples a fraction of a weight takes.

    Raises:
        BadParameters: a weight is negative, or an origin that is named does not occur.
    """
    mixture.check()
    known = {example.origin for example in examples}
    for origin in (*mixture.weights, *mixture.extract):
        if origin not in known:
            origins = ", ".join(sorted(origin for origin in known if origin)) or "none"
            raise BadParameters(f"no training example has the origin {origin!r}; origins that occur: {origins}")
    drawn = np.random.default_rng(seed).random(len(examples))
    result: list[Example] = []
    for example, chance in zip(examples, drawn, strict=True):
        weight = mixture.weights.get(example.origin or "", 1.0)
        times = int(weight) + (chance < weight % 1)
        versions = [example]
        if times and example.origin in mixture.extract:
            target = extractive_summary(example.source, example.target)
            prefix = example.prefix if mixture.extract_prefix is None else mixture.extract_prefix
            versions += [replace(example, target=target, prefix=prefix)] if target else []
        result += versions * times
    return result
