"""The search that a model needs: as fast as possible, at most a share of the quality lost, in bounded time."""

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from slimseq.compression.compress.decoding.decoding_rows import OWN, DecodingRow, rows_to_try
from slimseq.compression.compress.decoding.decoding_search import DecodingChoice, choose_decoding, find_decoding
from slimseq.compression.compress.decoding.decoding_trial import Trial
from slimseq.compression.compress.measuring import Judge
from slimseq.compression.context import Context
from slimseq.compression.decode import DecodeOptions
from slimseq.compression.prepare import prepare
from slimseq.evaluation.choice import statistics_of
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.datasets import load_examples
from slimseq.evaluation.metrics import MetricStatistics
from slimseq.evaluation.run import generate_with
from slimseq.inference.generator import open_generator
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.tiny import SENTENCES
from tests.measured import amend

TASK = Task.TRANSLATION
PAIRS = [Example(f"{source} {number}", target) for number in range(8) for source, target in SENTENCES][:40]


@dataclass(frozen=True)
class KnownOutputs(Judge):
    """Counts an output as right if it is among the known ones."""

    known: frozenset[str] = frozenset()

    def statistics(self, examples: list[Example], outputs: list[str]) -> MetricStatistics:  # type: ignore[override]
        return statistics_of("known", [float(output in self.known) for output in outputs])


def with_beams(context: Context, **settings: Any) -> Context:
    """The tiny original with four beams, prepared."""
    generation = GenerationDefaults(**({"num_beams": 4, "max_new_tokens": 8, "max_input_tokens": 40} | settings))
    amend(context.store, "original", generation=generation)
    prepare(context, measure=False)
    return context


def outputs_of(context: Context, examples: list[Example], **settings: Any) -> list[str]:
    with open_generator(context.store, TASK, "original") as generator:
        generate = generate_with(generator, generator.manifest.generation.options(**settings))
        return [output.text for output in generate(examples)]


def tried(context: Context, judge: Judge, speeds: dict[str, float], tolerance: float = 0.01) -> dict[str, DecodingRow]:
    """What a trial finds of some settings, whose speeds are given, by their names."""
    with open_generator(context.store, TASK, "original") as generator, context.progress() as display:
        own, *others = rows_to_try(generator.manifest.generation)
        rows = [own, *(replace(each, speed_up=speeds[each.name]) for each in others if each.name in speeds)]
        rows = [replace(each, seconds=0.1) for each in rows]
        deadline = time.perf_counter() + 120
        trial = Trial(generator, PAIRS, judge, tolerance, False, deadline, 1, rows[0], len(rows))
        return {each.name: each for each in trial.measured(rows, display)}


def row(name: str, speed_up: float, retention: float | None, lower_bound: float | None = None) -> DecodingRow:
    settings: dict[str, Any] = {} if name == OWN else {"num_beams": 2}
    interval = None if retention is None else (retention - 0.01, retention + 0.01)
    return DecodingRow(
        name, f"{name} title", settings, 2, False, 1.0, 0.1, speed_up, 100, retention, interval, lower_bound, 12.0
    )  # fmt: skip


def names(rows: list[DecodingRow]) -> list[str]:
    return [each.name for each in rows]


def test_fewer_beams_come_first_then_early_stopping_and_another_length_penalty() -> None:
    plain = rows_to_try(GenerationDefaults(num_beams=3))
    penalized = rows_to_try(GenerationDefaults(num_beams=2, length_penalty=0.6, early_stopping=True))

    assert names(plain) == [OWN, "greedy", "beams2", "beams2-early", "beams3-early"]
    assert [each.settings for each in plain] == [
        {}, {"num_beams": 1}, {"num_beams": 2}, {"num_beams": 2, "early_stopping": True}, {"early_stopping": True}
    ]  # fmt: skip
    assert plain[3].title == "2 beams, early stopping"
    assert names(penalized) == [OWN, "greedy", "beams2-penalty1"]
    assert penalized[2].settings == {"length_penalty": 1.0}


@pytest.mark.parametrize("own", [GenerationDefaults(), GenerationDefaults(do_sample=True, top_k=5)])
def test_a_greedy_model_and_one_that_samples_have_nothing_faster(own: GenerationDefaults) -> None:
    assert names(rows_to_try(own)) == [OWN]


def test_no_setting_has_more_beams_than_the_own_search() -> None:
    assert max(each.num_beams for each in rows_to_try(GenerationDefaults(num_beams=12))) == 12
    assert {each.num_beams for each in rows_to_try(GenerationDefaults(num_beams=12))} == {1, 2, 3, 4, 6, 8, 12}


def test_the_fastest_that_keeps_enough_is_chosen() -> None:
    rows = [row(OWN, 1.0, 1.0), row("greedy", 3.0, 0.97), row("beams2", 1.8, 0.995), row("beams3", 1.3, 1.001)]

    assert choose_decoding(rows, "chrf", 0.01).name == "beams2"
    assert choose_decoding(rows, "chrf", 0.03).name == "greedy"
    assert choose_decoding(rows, "chrf", 0.0).name == "beams3"
    assert choose_decoding(rows, "chrf", 0.03).in_words == (
        "Search: greedy title instead of own title: 3.00 times as fast, with 97.0% [96.0%, 98.0%] of its chrf on 100 "
        "pairs."
    )


def test_of_two_that_are_about_as_fast_the_better_one_is_chosen() -> None:
    rows = [row(OWN, 1.0, 1.0), row("beams2-early", 1.82, 0.992), row("beams2", 1.8, 0.999)]

    assert choose_decoding(rows, "chrf", 0.01).name == "beams2"


def test_a_confident_choice_asks_for_the_lower_bound() -> None:
    rows = [row(OWN, 1.0, 1.0, 1.0), row("greedy", 3.0, 0.999, 0.985), row("beams2", 1.5, 0.999, 0.992)]

    assert choose_decoding(rows, "chrf", 0.01).name == "greedy"
    assert choose_decoding(rows, "chrf", 0.01, confident=True).name == "beams2"


def test_the_own_search_stays_with_a_reason() -> None:
    lossy = choose_decoding([row(OWN, 1.0, 1.0), row("greedy", 3.0, 0.9)], "chrf", 0.01)
    unmeasured = choose_decoding([row(OWN, 1.0, None), row("greedy", 3.0, None)], "chrf", 0.01)
    alone = choose_decoding([row(OWN, 1.0, None)], "chrf", 0.01)

    assert [each.settings for each in (lossy, unmeasured, alone)] == [{}, {}, {}]
    assert lossy.in_words == (
        "Search: own title, the model's own. None that is faster loses at most 1.0%; the best, greedy title, is 3.00 "
        "times as fast with 90.0% [89.0%, 91.0%] of its chrf."
    )
    assert "there was no time to measure" in unmeasured.in_words
    assert alone.in_words == "Search: own title, the model's own; nothing is faster."


def test_a_faster_setting_that_keeps_the_bar_alone_is_found_beside_the_chosen_one() -> None:
    rows = [row("own", 1.0, 1.0), row("beams2", 1.2, 0.997), row("greedy", 1.5, 0.985), row("beams3", 1.1, 0.999)]

    found = choose_decoding(rows, "chrf", tolerance=0.005)

    assert found.name == "beams2"
    faster = found.faster_row(keep=0.98)
    assert faster is not None
    assert faster.name == "greedy"
    assert found.faster_row(keep=0.99) is None


def test_a_record_is_read_again() -> None:
    choice = choose_decoding([row(OWN, 1.0, 1.0, 1.0), row("greedy", 3.0, None)], "chrf", 0.01)

    assert DecodingChoice.from_record(json.loads(json.dumps(choice.record()))) == choice


def test_the_embedded_translator_gets_a_faster_search(embedded: Store) -> None:
    context, examples = Context(embedded), load_examples(TASK, "sample").examples[:40]

    choice = find_decoding(context, TASK, "quantized", examples, tolerance=0.5, seconds=120)

    assert choice.rows[0].name == OWN
    assert choice.rows[0].retention == 1.0
    assert choice.metric == "chrf"
    chosen = choice.chosen
    assert chosen.settings
    assert chosen.speed_up > 1
    assert chosen.retention is not None
    assert chosen.interval is not None
    assert 0.5 <= chosen.interval[0] <= chosen.retention <= chosen.interval[1]
    assert chosen.pairs == len(examples)
    assert 1 < choice.output_tokens < 200
    fastest = max(each.speed_up for each in choice.rows)
    assert chosen.speed_up * 1.03 >= fastest


@pytest.mark.parametrize("own", [GenerationDefaults(num_beams=3), GenerationDefaults(num_beams=4, length_penalty=2.0)])
def test_what_is_found_is_what_a_decode_step_takes(own: GenerationDefaults) -> None:
    for each in rows_to_try(own)[1:]:
        made = DecodeOptions(**each.settings).applied_to(own)

        search = (made.num_beams, made.early_stopping, made.length_penalty)
        assert search == (each.num_beams, each.early_stopping, each.length_penalty)


def test_a_setting_that_surely_loses_ends_early_and_the_next_one_is_tried(context: Context) -> None:
    prepared = with_beams(context)
    known = frozenset([*outputs_of(prepared, PAIRS), *outputs_of(prepared, PAIRS, num_beams=3)])
    assert not known.intersection(outputs_of(prepared, PAIRS, num_beams=1))

    found = tried(prepared, KnownOutputs(TASK, "known", known=known), {"greedy": 3.0, "beams3": 1.5})

    assert len(PAIRS) > 32
    assert (found["greedy"].pairs, found["greedy"].retention) == (32, 0.0)
    assert (found["beams3"].pairs, found["beams3"].retention) == (len(PAIRS), 1.0)


def test_a_setting_that_is_slower_than_one_that_keeps_enough_is_not_tried(context: Context) -> None:
    prepared = with_beams(context)
    right = frozenset([*outputs_of(prepared, PAIRS), *outputs_of(prepared, PAIRS, num_beams=1)])

    speeds = {"greedy": 3.0, "beams2": 2.0, "beams3": 1.04}
    found = tried(prepared, KnownOutputs(TASK, "known", known=right), speeds)

    assert (found["greedy"].pairs, found["greedy"].retention) == (len(PAIRS), 1.0)
    assert found["beams2"].pairs == found["beams3"].pairs == 0


def test_the_same_pairs_give_the_same_retention(context: Context) -> None:
    prepared = with_beams(context)
    judge = KnownOutputs(TASK, "known", known=frozenset([*outputs_of(prepared, PAIRS[::2]), "x"]))

    first, second = (tried(prepared, judge, {"greedy": 3.0, "beams3": 1.2}, tolerance=0.9) for _ in range(2))

    assert first == second
    assert first["greedy"].pairs > 0


def test_without_time_the_own_search_stays(context: Context) -> None:
    prepared = with_beams(context)
    started = time.monotonic()

    choice = find_decoding(prepared, TASK, "original", PAIRS, tolerance=0.01, seconds=0)

    assert time.monotonic() - started < 20
    assert choice.settings == {}
    assert "there was no time to measure" in choice.in_words
    assert choice.output_tokens > 0


def test_a_model_that_scores_nothing_keeps_its_search(context: Context) -> None:
    prepared = with_beams(context)
    nothing = KnownOutputs(TASK, "known")

    choice = find_decoding(prepared, TASK, "original", PAIRS, tolerance=0.01, seconds=60, judge=nothing)

    assert choice.settings == {}


def test_what_cannot_be_measured_is_refused(context: Context) -> None:
    with pytest.raises(ValueError, match="no dev pairs"):
        find_decoding(context, TASK, "original", [], tolerance=0.01, seconds=10)
    with pytest.raises(ValueError, match=r"the tolerance is 1\.0"):
        find_decoding(context, TASK, "original", PAIRS, tolerance=1.0, seconds=10)
