"""The mixture of the training data: weights by origin, and additional targets made of documents."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any

import numpy as np

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import MIXTURE, WEIGHTS, flat
from slimseq.compression.train.embedded.extractive import claim, excerpt, leading_sentences
from slimseq.compression.train.embedded.substitution import SubstitutedExample
from slimseq.evaluation.dataset_files import Example

SEEDS = 2**31


@flat(MIXTURE)
@dataclass(frozen=True)
class Mixture:
    """How examples are drawn. A weight says how often a pass sees an example: 3 is three times, 0.5 every other one."""

    weights: Annotated[Mapping[str, float], WEIGHTS] = field(default_factory=dict)
    """Weight of the examples of an origin, as NAME=NUMBER. Repeatable. Origins without a weight have 1."""
    lead: Annotated[Mapping[str, float], WEIGHTS] = field(default_factory=dict)
    """Weight of an origin's documents with their leading sentences as target, as NAME=NUMBER. Repeatable. Origins
    without a weight have 0."""
    lead_words: int = 32
    """Leading sentences are taken until they have this many words."""
    claim: Annotated[Mapping[str, float], WEIGHTS] = field(default_factory=dict)
    """Weight of an origin's documents with the sentence as target in which the authors first say what they do, as
    NAME=NUMBER. Repeatable. Documents without such a sentence are left out."""
    excerpts: float = 0.0
    """Share of the documents with a lead or a claim as target that are cut to an excerpt, another one in each pass.
    This keeps a model from memorizing a small set of documents."""
    substituted: float = 0.0
    """Share of the documents with a lead or a claim as target in which rare tokens are substituted, in the source and
    in the target alike. This teaches copying instead of names."""
    added_prefix: str | None = None
    """Text before documents with such targets. By default each example's own prefix."""

    def record(self) -> dict[str, Any]:
        """Returns the options that differ from the default, which uses every example once."""
        plain = asdict(Mixture())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}

    def check(self) -> None:
        """Raises BadParameters if a weight is negative, leads would have no words, or a share is out of range."""
        for weights in (self.weights, self.lead, self.claim):
            for origin, weight in weights.items():
                if weight < 0:
                    raise BadParameters(f"the weight of {origin} is {weight:g}; it must be at least 0")
        if self.lead_words < 1:
            raise BadParameters(f"leads of {self.lead_words} words cannot be made; take at least 1")
        for name in ("excerpts", "substituted"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise BadParameters(f"{name} is {share:g}; it is a share, from 0 to 1")


def mixed(examples: Sequence[Example], mixture: Mixture, seed: int) -> list[Example]:
    """Returns the examples of one pass, in an order that is the same for the same seed."""
    mixture.check()
    _check_origins(examples, [*mixture.weights, *mixture.lead, *mixture.claim])
    draw = np.random.default_rng(seed)
    drawn = draw.random(len(examples))
    result: list[Example] = []
    for example, chance in zip(examples, drawn, strict=True):
        origin = example.origin or ""
        result += [example] * _times(mixture.weights.get(origin, 1.0), chance)
        for _ in range(_times(mixture.lead.get(origin, 0.0), chance)):
            text = _perhaps_excerpt(example.source, None, mixture, draw)
            result += _copied(example, text, leading_sentences(text, mixture.lead_words), mixture, draw)
        for _ in range(_times(mixture.claim.get(origin, 0.0), chance)):
            if sentence := claim(example.source):
                text = _perhaps_excerpt(example.source, sentence, mixture, draw)
                result += _copied(example, text, sentence, mixture, draw)
    return result


def _check_origins(examples: Sequence[Example], named: Sequence[str]) -> None:
    known = {example.origin for example in examples}
    for origin in named:
        if origin not in known:
            origins = ", ".join(sorted(origin for origin in known if origin)) or "none"
            raise BadParameters(f"no training example has the origin {origin!r}; origins that occur: {origins}")


def _times(weight: float, chance: float) -> int:
    return int(weight) + (chance < weight % 1)


def _perhaps_excerpt(document: str, kept: str | None, mixture: Mixture, draw: np.random.Generator) -> str:
    return excerpt(document, mixture.lead_words, kept, draw) if draw.random() < mixture.excerpts else document


def _copied(
    example: Example, text: str, target: str | None, mixture: Mixture, draw: np.random.Generator
) -> list[Example]:
    """Returns an example with a text of its document and a target, perhaps with rare tokens to substitute."""
    prefix = example.prefix if mixture.added_prefix is None else mixture.added_prefix
    made = [replace(example, source=text, target=target, prefix=prefix)] if target else []
    if draw.random() >= mixture.substituted:
        return made
    return [SubstitutedExample(**vars(each), seed=int(draw.integers(SEEDS))) for each in made]
