"""Continuous batching: inputs that join and leave at any step get what `transformers.generate` gives each alone."""

import resource
import threading
from collections.abc import Callable
from typing import Any

import pytest

from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.host import resident_bytes, trim_memory
from slimseq.inference.engine import engine as engine_module
from slimseq.inference.engine.engine import OnnxEngine
from slimseq.inference.engine.graph_runs import run_encoder
from slimseq.inference.generator import TextGenerator
from slimseq.inference.runtime import Engine, GeneratedSequence
from slimseq.inference.runtimes.onnxruntime import OnnxRuntime
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from tests.inference.engine.company import in_company

SETTINGS: list[dict[str, Any]] = [
    {"num_beams": 1, "no_repeat_ngram_size": 0},
    {"num_beams": 1, "no_repeat_ngram_size": 3, "min_new_tokens": 12},
    {"num_beams": 4, "no_repeat_ngram_size": 2, "max_new_tokens": 9},
    {"num_beams": 4, "length_penalty": 2.0, "min_new_tokens": 8},
    {"num_beams": 4, "length_penalty": -0.5, "early_stopping": True, "max_new_tokens": 40},
    {"num_beams": 2, "num_return_sequences": 2},
]
TEXTS = 24
# Tokens of a long input, and the bytes of its attention scores in a layer of the summarizer with four heads.
LONG = 500
SCORES_BYTES = 4 * LONG**2 * 4
PAGE_BYTES = resource.getpagesize()


def engine_of(generator: TextGenerator) -> OnnxEngine:
    assert isinstance(generator.runtime, OnnxRuntime)
    return generator.runtime.engine()


def rows_of(generator: TextGenerator) -> list[list[int]]:
    """Returns sentences as ids. Every fourth has five others behind it, so that lengths differ much."""
    sentences = [example.source for example in load_examples(Task.TRANSLATION, "sample").examples]
    texts = []
    for place in range(TEXTS):
        count = 6 if place % 4 == 0 else 1
        texts.append(" ".join(sentences[place : place + count]))
    return [generator.encode(text).ids for text in texts]


def run_to_end(engine: Engine) -> dict[int, GeneratedSequence]:
    found: dict[int, GeneratedSequence] = {}
    while len(engine):
        engine.admit()
        found |= {key: progress.ended for key, progress in engine.step().items() if progress.ended is not None}
    return found


@pytest.mark.parametrize(
    "max_pause", [0.0, engine_module.MAX_PAUSE_SECONDS], ids=["encoder in its thread", "encoder between steps"]
)
def test_rows_that_arrive_at_random_get_what_they_would_get_alone(
    ours_and_torch: tuple[TextGenerator, TextGenerator], monkeypatch: pytest.MonkeyPatch, max_pause: float
) -> None:
    ours, reference = ours_and_torch
    monkeypatch.setattr(engine_module, "MAX_PAUSE_SECONDS", max_pause)
    rows = rows_of(ours)
    options_of_settings = [
        ours.manifest.generation.options(**({"max_new_tokens": 24} | settings)) for settings in SETTINGS
    ]
    # The rows take turns with the settings.
    options = [options_of_settings[place % len(SETTINGS)] for place in range(TEXTS)]

    outputs = in_company(engine_of(ours), rows, options)

    for number in range(len(SETTINGS)):
        places = range(number, TEXTS, len(SETTINGS))
        wanted = reference.runtime.generate([rows[place] for place in places], options[number])
        assert [outputs[place] for place in places] == wanted


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_row_that_is_dropped_leaves_the_others_as_they_were(
    ours_and_torch: tuple[TextGenerator, TextGenerator], num_beams: int
) -> None:
    ours, _ = ours_and_torch
    made = ours.manifest.generation.options(num_beams=num_beams, min_new_tokens=10, max_new_tokens=16)
    options = made.without_speculation()
    rows = rows_of(ours)[:6]
    alone = [ours.runtime.generate([row], options)[0] for row in rows]
    engine = engine_of(ours)
    keys = [engine.add(row, options) for row in rows]
    engine.admit(10_000)
    for _ in range(4):
        engine.step()

    cut = engine.drop([keys[0], keys[3]])

    # Each of the four steps gave one token.
    found = {key: (len(sequence.ids), sequence.finish_reason) for key, sequence in cut.items()}
    assert found == {keys[0]: (4, "cancelled"), keys[3]: (4, "cancelled")}
    ended = run_to_end(engine)
    others = (1, 2, 4, 5)
    assert [ended[keys[place]] for place in others] == [alone[place] for place in others]
    assert not engine._batches, "their memory is freed"


def test_a_row_that_waits_can_be_dropped(ours_and_torch: tuple[TextGenerator, TextGenerator]) -> None:
    engine = engine_of(ours_and_torch[0])
    options = GenerationOptions(max_new_tokens=2)
    first = engine.add([5, 6], options)
    second = engine.add([5, 6], options)

    cut = engine.drop([first])

    assert cut == {first: GeneratedSequence([], "cancelled")}
    assert len(engine) == 1
    assert engine.waiting == 1
    assert list(run_to_end(engine)) == [second]
    assert engine.drop([first, second]) == {}, "both have left"


def test_beams_report_tokens_before_the_end_and_the_output_stays(
    ours_and_torch: tuple[TextGenerator, TextGenerator],
) -> None:
    ours, _ = ours_and_torch
    options = ours.manifest.generation.options(num_beams=4, max_new_tokens=48)
    rows = rows_of(ours)[:12]
    expected = ours.runtime.generate(rows, options)
    engine = engine_of(ours)
    keys = [engine.add(row, options, is_streamed=place % 2 == 0) for place, row in enumerate(rows)]
    # By key, all reported tokens, and how many were reported before the end.
    reported: dict[int, list[int]] = {key: [] for key in keys}
    early: dict[int, int] = dict.fromkeys(keys, 0)

    while len(engine):
        engine.admit()
        for key, progress in engine.step().items():
            reported[key] += progress.tokens
            early[key] += len(progress.tokens) if progress.ended is None else 0

    assert [reported[key] for key in keys] == [sequence.ids for sequence in expected]
    streamed, others = keys[::2], keys[1::2]
    assert all(early[key] == 0 for key in others)
    assert sum(early[key] for key in streamed) > sum(len(reported[key]) for key in streamed) / 2


def test_what_waits_is_admitted_in_order_and_within_a_budget(
    ours_and_torch: tuple[TextGenerator, TextGenerator],
) -> None:
    ours, _ = ours_and_torch
    options = GenerationOptions(max_new_tokens=4)
    engine = engine_of(ours)
    # The first two fit into 55 tokens. The third does not, but one is always admitted. Then the last.
    for row in ([5] * 30, [5] * 20, [5] * 60, [5] * 10):
        engine.add(row, options)

    waiting = []
    for _ in range(3):
        engine.admit(tokens=55)
        waiting.append(engine.waiting)

    assert waiting == [2, 1, 0]


def test_short_rows_go_on_while_the_encoder_of_a_long_one_runs(
    ours_and_torch: tuple[TextGenerator, TextGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_with_long_ones(*arguments: Any) -> Any:
        ids = arguments[1]
        if ids.shape[1] >= len(long):
            assert may_end.wait(10), "the short row did not end"
        return run_encoder(*arguments)

    may_end = threading.Event()
    monkeypatch.setattr(engine_module, "MAX_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(engine_module, "run_encoder", wait_with_long_ones)
    ours, _ = ours_and_torch
    options = ours.manifest.generation.options(num_beams=2, max_new_tokens=16)
    short, long = [5, 6, 7], [5, 6, 7, 8] * 10
    may_end.set()
    alone = ours.runtime.generate([short, long], options)
    may_end.clear()
    engine = engine_of(ours)
    first = engine.add(short, options)
    engine.admit()
    kept, dropped = engine.add(long, options), engine.add(long, options)
    engine.admit(tokens=200)

    ended = dict[int, GeneratedSequence]()
    while first not in ended:
        ended |= {key: progress.ended for key, progress in engine.step().items() if progress.ended}
    assert len(engine) == 2
    assert engine.drop([dropped])[dropped].finish_reason == "cancelled"
    may_end.set()

    assert ended | run_to_end(engine) == {first: alone[0], kept: alone[1]}


def test_a_long_input_needs_no_new_memory_the_second_time_until_the_engine_gives_it_back(
    summarizer: TextGenerator,
) -> None:
    engine = engine_of(summarizer)
    ids = list(range(10, 10 + LONG))
    trim(engine)
    before = resident_bytes()

    run_encoder_of(engine, ids)
    kept = resident_bytes() - before
    faults = [page_faults(lambda: run_encoder_of(engine, ids)) for _ in range(3)]
    trim(engine)

    assert kept > SCORES_BYTES
    assert min(faults) < SCORES_BYTES // PAGE_BYTES
    assert resident_bytes() - before < kept - SCORES_BYTES


def run_encoder_of(engine: OnnxEngine, ids: list[int]) -> None:
    engine.add(ids, GenerationOptions(max_new_tokens=1, num_beams=1))
    run_to_end(engine)


def trim(engine: OnnxEngine) -> None:
    engine.trim()
    # What the engine gives back may stay in the C library's heap.
    trim_memory()


def page_faults(work: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
