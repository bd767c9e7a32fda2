"""Any text and any options within their bounds: a plan with bounded rows, or an error of the client."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.text.errors import InvalidPrompt, TextTooLong
from slimseq.inference.text.plan import plan
from slimseq.inference.text.rows import Prompt
from slimseq.models_store import generation
from slimseq.models_store.errors import InvalidOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

# More than the four texts that a prompt has here, so that it always limits the rows.
MAX_ROWS = 16
# JSON can hold half of a surrogate pair, and the schema of requests refuses it.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
SENTENCES = st.sampled_from(["One. Two! Three?", "\r\n\u2028 A.\x1d", "word " * 600])
TEXTS = st.lists(TEXT | SENTENCES, min_size=1, max_size=4)
# The bounds of `GenerationOptions`, and a bit outside of them.
OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "num_beams": st.integers(0, generation.MAX_BEAMS + 1),
    "length_penalty": st.floats(-6, 6),
    "early_stopping": st.booleans(),
    "no_repeat_ngram_size": st.integers(-1, 33),
    "min_new_tokens": st.integers(-1, 8),
    "max_new_tokens": st.integers(0, 12),
    "repetition_penalty": st.floats(0, 11) | st.just(generation.MIN_REPETITION_PENALTY),
    "do_sample": st.booleans(),
    "temperature": st.floats(0, 101) | st.just(generation.MIN_TEMPERATURE),
    "top_k": st.integers(-1, 2**31),
    "top_p": st.floats(0, 1.1) | st.just(generation.MIN_TOP_P),
    "seed": st.integers(-1, 2**63),
}


@pytest.fixture(scope="module", params=[Task.TRANSLATION, Task.SUMMARIZATION])
def generator(request: pytest.FixtureRequest, embedded: Store) -> Iterator[TextGenerator]:
    with open_generator(embedded, request.param, "quantized", "onnxruntime") as opened:
        yield opened


@given(texts=TEXTS, prefix=st.none() | TEXT, on_overflow=st.sampled_from(["truncate", "error"]))
def test_every_text_has_rows_that_fit_the_model_and_one_output(
    generator: TextGenerator, texts: list[str], prefix: str | None, on_overflow: Any
) -> None:
    prompt = Prompt(texts, prefix=prefix, on_overflow=on_overflow)

    try:
        planned = plan(generator, prompt, MAX_ROWS)
    except (InvalidPrompt, TextTooLong):
        return

    assert len(planned.texts) == len(texts)
    assert len(planned.rows) == sum(len(text.segments) for text in planned.texts)
    assert len(planned.rows) <= MAX_ROWS
    assert all(0 < len(row.ids) <= generator.max_input_tokens for row in planned.rows)


@given(options=st.fixed_dictionaries({}, optional=OPTIONS))
def test_options_within_their_bounds_generate_and_others_are_refused_by_name(
    generator: TextGenerator, options: dict[str, Any]
) -> None:
    prompt = Prompt(["The children are playing."], {"max_new_tokens": 12, **options})

    try:
        planned = plan(generator, prompt, MAX_ROWS)
    except InvalidOptions as error:
        refusal = str(error)
        assert any(name in refusal for name in generation.GenerationOptions.model_fields)
        return
    first = generator.generate(planned.rows, planned.options)
    second = generator.generate(planned.rows, planned.options)

    assert all(output.output_tokens <= planned.options.max_new_tokens for output in first)
    is_random = planned.options.do_sample and planned.options.seed is None
    assert first == second or is_random
