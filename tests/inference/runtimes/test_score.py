"""Scoring a given output gives the log-probabilities that transformers gives, on every runtime and in any batch."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.artifacts.copies import copy_artifact
from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import GenerationCallbacks
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.inference.teacher_forcing import mean_log_probabilities

VARIANT = "distilled"
OUTPUT = "Das rote Haus ist sehr alt."
# The translation of the first source, scored for it and for two other ones.
SOURCES = ["The red house is very old.", "The X house is very old.", "It is late."]


@pytest.fixture(params=["onnxruntime", "torch", "ctranslate2"])
def generator(embedded: Store, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TextGenerator]:
    """A generator of an embedded variant on each runtime."""
    store = embedded
    if request.param == "ctranslate2":
        # `prepare` exports to CTranslate2 only where it is the fastest on this kind of CPU.
        store = Store(tmp_path)
        copy_artifact(embedded, store, embedded.manifest(Task.TRANSLATION, VARIANT))
        add_ctranslate2(Context(store=store), Task.TRANSLATION, VARIANT)
    with open_generator(store, Task.TRANSLATION, VARIANT, request.param) as opened:
        yield opened


def test_an_output_is_scored_as_transformers_scores_it(generator: TextGenerator, embedded: Store) -> None:
    forced = generator.force(OUTPUT)
    rows = [replace(generator.encode(source), output=forced) for source in SOURCES]

    scored = generator.generate(rows, generator.default_options)

    found = [sum(score.value for score in output.scores) / len(forced.ids) for output in scored]
    expected = mean_log_probabilities(
        embedded.folder(Task.TRANSLATION, VARIANT),
        rows=[row.ids for row in rows],
        outputs=[list(forced.ids)] * len(rows),
        is_last_forced=[False] * len(rows),
    )
    assert found == pytest.approx(expected, abs=2e-3)


def test_scores_have_the_places_of_their_tokens_in_the_text(generator: TextGenerator) -> None:
    row = replace(generator.encode(SOURCES[0]), output=generator.force(OUTPUT))

    [scored] = generator.generate([row], generator.default_options)

    places = [(score.start, score.end) for score in scored.scores]
    pieces = [OUTPUT[start:end] for start, end in places]
    # The space before a word has no place in the text, and neither has the end token.
    assert [piece for piece in pieces if piece][:2] == ["Das", "ro"]
    assert "".join(pieces) == OUTPUT.replace(" ", "")
    assert pieces[-1] == ""


def test_scored_rows_do_not_change_a_generated_row_of_their_batch(generator: TextGenerator) -> None:
    forced = generator.force(OUTPUT)
    scored_rows = [replace(generator.encode(source), output=forced) for source in SOURCES]
    generated_row = generator.encode("Good morning.")
    rows_with_tokens: set[int] = set()

    def on_token(row: int, token: int) -> None:
        rows_with_tokens.add(row)

    outputs = generator.generate(
        [*scored_rows, generated_row], generator.default_options, GenerationCallbacks(on_token)
    )

    [alone] = generator.generate([generated_row], generator.default_options)
    assert outputs[-1] == alone
    # Only the generated row reports tokens, by its own number.
    assert rows_with_tokens == {len(SOURCES)}
