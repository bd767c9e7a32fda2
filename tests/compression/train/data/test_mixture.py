"""A mixture repeats or selects training examples by the weight of their origin."""

import pytest

from slimseq.compression.errors import BadParameters
from slimseq.compression.train.data.mixture import Mixture, mixed
from slimseq.evaluation.dataset_files import Example

NEWS = [
    Example(f"Headline {i}. The mayor opened a bridge. Then all went home.", "A bridge opened.", origin="news")
    for i in range(10)
]
OTHER = [Example(f"text {i}", f"target {i}", origin="other") for i in range(10)]


def counts(examples: list[Example]) -> dict[str | None, int]:
    return {origin: sum(example.origin == origin for example in examples) for origin in ("news", "other")}


def test_weights_say_how_often_an_origin_is_used() -> None:
    seen = mixed([*NEWS, *OTHER], Mixture({"news": 3, "other": 0}), seed=0)

    assert counts(seen) == {"news": 30, "other": 0}


def test_a_fraction_selects_the_same_examples_for_a_seed() -> None:
    mixture = Mixture({"other": 0.5})

    seen = mixed(OTHER, mixture, seed=1)

    assert 0 < len(seen) < 10
    assert seen == mixed(OTHER, mixture, seed=1)
    assert seen != mixed(OTHER, mixture, seed=2)


def test_an_origin_that_does_not_occur_is_refused() -> None:
    with pytest.raises(BadParameters, match="'sports'; origins that occur: news, other"):
        mixed([*NEWS, *OTHER], Mixture({"sports": 2}), seed=0)
    with pytest.raises(BadParameters, match="at least 0"):
        mixed(NEWS, Mixture({"news": -1}), seed=0)
