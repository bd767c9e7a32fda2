"""Any generation options are refused by name, or are within what the model can do."""

import math
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.generator import TextGenerator
from slimseq.inference.text.plan import Prompt, find_options
from slimseq.models_store.errors import InvalidOptions
from slimseq.models_store.generation import MAX_BEAMS, GenerationDefaults, GenerationOptions
from tests.anything import json_values, numbers

POSITIONS, VOCABULARY = 128, 1000
near = st.integers(-2, 1100) | st.floats(-6, 110) | numbers | st.booleans()
options = st.dictionaries(
    st.sampled_from([*GenerationOptions.model_fields, "num_beam"]), near | json_values, max_size=5
)


class Bounds:
    """A generator whose model has so many positions and tokens."""

    max_positions, vocabulary, generation = POSITIONS, VOCABULARY, GenerationDefaults(num_beams=4)

    @property
    def configuration(self) -> "Bounds":
        return self

    @property
    def manifest(self) -> "Bounds":
        return self

    @property
    def default_options(self) -> GenerationOptions:
        options = self.generation.options()
        self.check(options)
        return options

    def check(self, chosen: GenerationOptions) -> None:
        TextGenerator.check(cast(Any, self), chosen)


@given(given_options=options)
def test_options_are_refused_or_within_all_bounds(given_options: dict[str, Any]) -> None:
    try:
        chosen = find_options(cast(Any, Bounds()), Prompt([], given_options))
    except InvalidOptions:
        return

    assert 1 <= chosen.num_beams <= MAX_BEAMS
    assert 0 <= chosen.min_new_tokens <= chosen.max_new_tokens < POSITIONS and chosen.max_new_tokens >= 1
    assert 0 <= chosen.top_k <= VOCABULARY and 0 < chosen.top_p <= 1
    assert not (chosen.do_sample and chosen.num_beams > 1)
    numbers_of = (chosen.temperature, chosen.repetition_penalty, chosen.length_penalty)
    assert all(math.isfinite(value) for value in numbers_of) and chosen.temperature > 0 < chosen.repetition_penalty
