import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from slimseq.evaluation.bootstrap import retention
from slimseq.evaluation.dataset_files import DatasetSample, Example
from slimseq.evaluation.metrics import PRIMARY_METRIC, MetricStatistics, score
from slimseq.evaluation.run import Generate, evaluate
from slimseq.evaluation.slices import (
    COUNTED_WORDS,
    MIN_SLICE_SAMPLES,
    Slice,
    counts_tokens,
    slice_scores,
    slices_of,
)
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import SliceScore
from tests.evaluation.conftest import EchoRuntime

NOUNS = ("Hund", "Apfel", "Zug", "Garten", "Brief", "Wagen", "Ofen", "Stuhl", "Bach", "Turm", "Vogel", "Regen", "Hut")
LONG = 12


def letters(text: str) -> int:
    """A tokenizer whose tokens are letters."""
    return sum(map(str.isalpha, text))


def example(words: int, number: int = 0, origin: str | None = None) -> Example:
    target = [NOUNS[(number * number + place * (number + 3)) % len(NOUNS)] for place in range(max(words, 4))]
    return Example("word " * (words - 1) + "word", " ".join(target), origin=origin)


def sample_of(examples: Sequence[Example]) -> DatasetSample:
    return DatasetSample("ducks", "test", tuple(examples))


def perfect(examples: Sequence[Example]) -> list[TextOutput]:
    return [output(each.target) for each in examples]


def output(text: str) -> TextOutput:
    return TextOutput(text=text, finish_reason="eos", input_tokens=5, output_tokens=3, truncated=False)


def bad_if(is_bad: Callable[[Example], bool]) -> Generate:
    """A variant that loses the second half of some outputs."""

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        return [
            output(each.target[: len(each.target) // 2] if is_bad(each) else each.target + " .") for each in examples
        ]

    return generate


def sliced(examples: Sequence[Example], variant: Generate, task: Task = Task.TRANSLATION) -> list[SliceScore]:
    original, pruned = (statistics(examples, system, task) for system in (perfect, variant))
    return list(slice_scores(slices_of(examples, letters), pruned, original))


def statistics(examples: Sequence[Example], system: Generate, task: Task = Task.TRANSLATION) -> MetricStatistics:
    texts = [each.text for each in system(examples)]
    return score(task, texts, [each.target for each in examples])[PRIMARY_METRIC[task]]


def labels(examples: Sequence[Example], count: Callable[[str], int] = letters) -> list[str]:
    return [f"{each.dimension}: {each.name}, {len(each.indices)}" for each in slices_of(examples, count)]


LENGTHS = [example(1 + number % 18, number) for number in range(180)]


@pytest.mark.parametrize("task", Task)
def test_a_variant_that_is_bad_on_long_sentences_loses_most_there(task: Task) -> None:
    found = sliced(LENGTHS, bad_if(lambda each: len(each.source.split()) > LONG), task)

    kept = {each.name: each for each in found if each.dimension == "length"}
    assert list(kept) == ["1 to 6 words", "7 to 12 words", "13 to 18 words"]
    worst = min(found, key=lambda each: each.retention)
    assert worst is kept["13 to 18 words"] and worst.samples == 60
    assert worst.retention < 0.7 and kept["1 to 6 words"].retention > 0.7
    assert worst.retention_interval[1] < kept["1 to 6 words"].retention_interval[0]


def test_a_slice_has_the_score_retention_and_interval_of_an_evaluation_of_its_samples_alone() -> None:
    variant = bad_if(lambda each: len(each.target) % 3 == 0)
    middle = [each for each in LENGTHS if 7 <= len(each.source.split()) <= 12]
    bleu = statistics(middle, variant)

    found = next(each for each in sliced(LENGTHS, variant) if each.name == "7 to 12 words")

    assert (found.samples, found.value) == (60, bleu.value)
    assert (found.retention, found.retention_interval) == retention(bleu, statistics(middle, perfect))


def test_each_origin_with_enough_samples_is_a_slice_with_a_name_that_can_be_shown() -> None:
    origins = ["\x1b[31m\u202enews"] * 60 + ["chat  of\nfriends"] * 50 + ["a" * 3000] * 50 + ["mail"] * 49
    examples = [example(5, number, origin) for number, origin in enumerate([*origins, *[None, "", " "] * 5])]

    found = sliced(examples, bad_if(lambda each: "news" in (each.origin or "")))

    assert [(each.dimension, each.name, each.samples) for each in found] == [
        ("origin", "\\x1b[31m\\u202enews", 60),
        ("origin", "a" * 79 + "…", 50),
        ("origin", "chat of friends", 50),
    ]
    assert found[0].retention < found[2].retention


def test_a_slice_of_all_samples_or_of_too_few_is_left_out() -> None:
    few = [example(words, words) for words in range(1, 3 * MIN_SLICE_SAMPLES)]
    enough = [*few, example(3 * MIN_SLICE_SAMPLES)]

    assert labels([example(5, number, "news") for number in range(200)]) == []
    assert labels(few) == ["length: 1 to 50 words, 50", "length: 100 to 149 words, 50"]
    assert labels(enough) == [
        "length: 1 to 50 words, 50",
        "length: 51 to 100 words, 50",
        "length: 101 to 150 words, 50",
    ]


def test_sources_of_one_word_have_slices_by_rare_words_only() -> None:
    words = ["ab", "abcd", "abcdef"] * 60

    assert labels([Example(word, "Wort") for word in words]) == [
        "rare_words: few (2.00 tokens a word), 60",
        "rare_words: some (4.00 tokens a word), 60",
        "rare_words: many (6.00 tokens a word), 60",
    ]
    assert labels([Example("word", "Wort")] * 180) == []


def test_punctuation_does_not_make_short_sentences_seem_rare() -> None:
    short, long = "Go on, now!", "We go on and on, now and then, to the end of it."

    slices = slices_of(
        [Example(text, "Wort") for text in [short, long] * 60], lambda text: len(re.findall(r"\w+|\S", text))
    )

    assert {each.dimension for each in slices} == {"length"}


def test_of_a_long_document_only_the_beginning_counts_for_rare_words() -> None:
    seen: list[str] = []

    def count(text: str) -> int:
        seen.append(text)
        return letters(text)

    slices_of([Example("lake " * 5000, "See")], count)

    assert seen == [("lake " * COUNTED_WORDS).strip()]


def test_characters_of_languages_without_spaces_are_words() -> None:
    short, long = "狗在睡觉", "孩子们在花园里玩"

    found = labels([Example(text, "Wort") for text in [short, long] * 60])

    assert found == ["length: 4 words, 60", "length: 8 words, 60"]


def test_a_slice_where_the_reference_scores_zero_has_no_retention() -> None:
    targets = ["ein Hund bellt laut"] * 60 + ["ein Zug hält dort"] * 60
    original = score(Task.TRANSLATION, [*targets[:60], *["nichts"] * 60], targets)["bleu"]
    variant = score(Task.TRANSLATION, targets, targets)["bleu"]
    slices = [Slice("origin", name, np.arange(start, start + 60)) for name, start in (("dogs", 0), ("trains", 60))]

    assert [each.name for each in slice_scores(slices, variant, original)] == ["dogs"]


def test_an_evaluation_slices_each_variant_by_the_tokenizer_of_its_reference_and_no_reference() -> None:
    examples = [Example(text, "ein Hund bellt laut") for text in ("ab", "abcd", "abcdef") for _ in range(60)]

    found = evaluate(
        Task.TRANSLATION,
        sample_of(examples),
        {"original": perfect, "pruned": perfect, "opus": perfect, "opus-int8": perfect, "alone": perfect},
        {"original": "original", "pruned": "original", "opus": "opus", "opus-int8": "opus"},
        count_tokens={"original": letters, "opus": lambda text: 1},
    )

    assert [len(each.slices) for each in found.variants] == [0, 3, 0, 0, 0]
    scores = found.quality_scores("pruned", "onnxruntime", [], "2026-11-28", {})
    assert {each.metric: len(each.slices) for each in scores} == {"bleu": 3, "chrf": 0, "chrf++": 0}
    assert scores[0].slices == list(found.variant("pruned").slices)
    assert {(each.retention, each.retention_interval) for each in scores[0].slices} == {(1.0, (1.0, 1.0))}


def test_tokens_are_counted_without_the_prefix_and_special_tokens(
    open_echo: Callable[[EchoRuntime], TextGenerator], runtime: EchoRuntime
) -> None:
    count = counts_tokens(open_echo(runtime))

    assert (count("good morning"), count("good"), count("")) == (2, 1, 0)
