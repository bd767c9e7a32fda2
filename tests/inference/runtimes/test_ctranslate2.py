"""CTranslate2 under its own search returns the token ids of `transformers.generate` on the same fp32 weights."""

import json
import shutil
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.context import Context
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.evaluation.datasets import load_examples
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.runtimes.ctranslate2 import open_runtime
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.inference.teacher_forcing import mean_log_probabilities

# These tests load embedded models.
pytestmark = pytest.mark.slow

GREEDY: dict[str, dict[str, Any]] = {
    "plain": {"no_repeat_ngram_size": 0},
    "with rules": {"no_repeat_ngram_size": 3, "min_new_tokens": 25},
    "no token twice": {"no_repeat_ngram_size": 1, "max_new_tokens": 12},
    "cut": {"max_new_tokens": 5},
    "one token": {"max_new_tokens": 1},
}
BATCH = 16
# Unless a test says otherwise.
MAX_NEW_TOKENS = 48


def exported(folder: Path, *tasks: Task) -> Store:
    """Returns a store of the embedded originals, each with a CTranslate2 export and no other."""
    copy = Store(folder)
    exports = shutil.ignore_patterns("onnx", "ctranslate2")
    for task in tasks:
        shutil.copytree(embedded_store() / task.value / "original", copy.folder(task, "original"), ignore=exports)
        add_ctranslate2(Context(store=copy), task, "original")
    return copy


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return exported(tmp_path_factory.mktemp("artifacts"), *Task)


@pytest.fixture(scope="module", params=list(Task), ids=[task.value for task in Task])
def ours_and_torch(request: pytest.FixtureRequest, store: Store) -> Iterator[tuple[TextGenerator, TextGenerator]]:
    with (
        open_generator(store, request.param, "original", "ctranslate2", threads=1) as ours,
        open_generator(store, request.param, "original", "torch", threads=1) as reference,
    ):
        yield ours, reference


def rows_of(generator: TextGenerator, count: int = 20) -> list[list[int]]:
    """Returns real texts as ids: sentences, and for summarization also four whole articles, which come last."""
    texts = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples][:count]
    if generator.manifest.task is Task.SUMMARIZATION:
        articles = [example.source for example in load_examples(Task.SUMMARIZATION, "sample").examples]
        texts = [*texts, *articles[:4]][-count:]
    return [generator.encode(text).ids for text in texts]


def generated(generator: TextGenerator, rows: list[list[int]], **overrides: Any) -> list[GeneratedSequence]:
    options = generator.manifest.generation.options(**({"max_new_tokens": MAX_NEW_TOKENS} | overrides))
    batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
    return [output for batch in batches for output in generator.runtime.generate(batch, options)]


@pytest.mark.parametrize("name", list(GREEDY))
def test_greedy_token_ids_equal_those_of_transformers(
    ours_and_torch: tuple[TextGenerator, TextGenerator], name: str
) -> None:
    ours, reference = ours_and_torch
    rows = rows_of(ours)

    outputs = generated(ours, rows, num_beams=1, **GREEDY[name])

    assert outputs == generated(reference, rows, num_beams=1, **GREEDY[name])


def test_beam_search_mostly_finds_what_transformers_finds(ours_and_torch: tuple[TextGenerator, TextGenerator]) -> None:
    ours, reference = ours_and_torch
    rows = rows_of(ours, 24)

    outputs = generated(ours, rows, num_beams=4, early_stopping=True)

    expected = generated(reference, rows, num_beams=4, early_stopping=True)
    assert sum(output == other for output, other in zip(outputs, expected, strict=True)) >= 22


def test_beam_search_returns_the_best_output_and_different_alternatives(
    ours_and_torch: tuple[TextGenerator, TextGenerator],
) -> None:
    ours, _ = ours_and_torch
    rows = rows_of(ours, 24)

    several = generated(ours, rows, num_beams=4, early_stopping=True, num_return_sequences=3)

    best = generated(ours, rows, num_beams=4, early_stopping=True)
    assert [each.ids for each in several] == [each.ids for each in best]
    for output in several:
        assert len({tuple(each.ids) for each in (output, *output.alternatives)}) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 1, "no_repeat_ngram_size": 0},
        {"num_beams": 4, "no_repeat_ngram_size": 0, "length_penalty": 2.0},
        {"num_beams": 4, "no_repeat_ngram_size": 0, "length_penalty": -1.0, "max_new_tokens": 9},
        {"do_sample": True, "temperature": 1.5, "top_k": 20, "seed": 5, "no_repeat_ngram_size": 0},
    ],
    ids=["greedy", "beams", "cut", "sampling"],
)
def test_log_probabilities_are_those_of_transformers(
    ours_and_torch: tuple[TextGenerator, TextGenerator], store: Store, options: dict[str, Any]
) -> None:
    ours, _ = ours_and_torch
    rows = rows_of(ours, 12)

    sequences = generated(ours, rows, **options)

    ids = [sequence.ids for sequence in sequences]
    max_new_tokens = options.get("max_new_tokens", MAX_NEW_TOKENS)
    # Whether the model forced the end token, whose probability is then 1.
    forces_end = ours.configuration.forced_eos_id is not None
    is_forced = [forces_end and len(each) == max_new_tokens for each in ids]
    wanted = mean_log_probabilities(store.folder(ours.manifest.task, "original"), rows, ids, is_forced)
    assert [sequence.mean_log_probability for sequence in sequences] == pytest.approx(wanted, abs=0.005)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_log_probabilities_are_unknown_with_a_repetition_penalty(
    ours_and_torch: tuple[TextGenerator, TextGenerator], num_beams: int
) -> None:
    ours, _ = ours_and_torch

    [sequence] = generated(ours, rows_of(ours, 1), num_beams=num_beams, repetition_penalty=1.5)

    assert sequence.ids
    assert sequence.mean_log_probability is None


def test_a_generation_without_on_token_asks_once_whether_it_is_cancelled(
    ours_and_torch: tuple[TextGenerator, TextGenerator],
) -> None:
    ours, _ = ours_and_torch
    rows = rows_of(ours)[:1]
    options = ours.manifest.generation.options(num_beams=1, min_new_tokens=8, max_new_tokens=8)
    only_answer = iter([False])

    ours.runtime.generate(rows, options, GenerationCallbacks(None, lambda: next(only_answer)))

    assert next(only_answer, None) is None


def test_a_generation_that_is_cancelled_before_it_runs_is_empty(
    ours_and_torch: tuple[TextGenerator, TextGenerator],
) -> None:
    ours, _ = ours_and_torch
    options = ours.manifest.generation.options(num_beams=4)

    cancelled = ours.runtime.generate(rows_of(ours)[:1], options, GenerationCallbacks(None, lambda: True))

    assert cancelled == [GeneratedSequence([], "cancelled")]


def test_of_a_batch_of_long_beam_searches_the_rows_that_are_left_can_be_cancelled(embedded: Store) -> None:
    with open_generator(embedded, Task.TRANSLATION, "compact", "ctranslate2") as generator:
        rows = [generator.encode("It is late.").ids] * 3
        # Whether the generation is cancelled: not before the first row, but before all others.
        answers = chain([False], repeat(True))
        options = generator.manifest.generation.options(num_beams=8, max_new_tokens=255)

        outputs = generator.runtime.generate(rows, options, GenerationCallbacks(None, lambda: next(answers)))

        assert [output.finish_reason for output in outputs] == ["eos", "cancelled", "cancelled"]
        assert outputs[0] == generator.runtime.generate(rows, options)[2]


@pytest.mark.parametrize(("name", "damage"), [("model.bin", b"no model"), ("shared_vocabulary.json", b"[")])
def test_a_broken_file_is_named(store: Store, tmp_path: Path, name: str, damage: bytes) -> None:
    folder = shutil.copytree(store.folder(Task.TRANSLATION, "original"), tmp_path / "translation" / "original")
    (folder / "ctranslate2" / name).write_bytes(damage)

    with pytest.raises(InvalidArtifact, match=name.replace(".", r"\.")):
        open_runtime(folder)


def test_equal_matrices_are_stored_once(store: Store) -> None:
    for task in Task:
        folder = store.folder(task, "original") / "ctranslate2"
        manifest = store.manifest(task, "original")

        vocabulary = json.loads((folder / "shared_vocabulary.json").read_text())

        assert len(set(vocabulary)) == len(vocabulary)
        assert (folder / "model.bin").stat().st_size < manifest.size.fp32_bytes * 1.01
