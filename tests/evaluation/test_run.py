"""One evaluation of several variants, with functions in place of models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import pytest

from slimseq.evaluation.agreement import mean_agreement
from slimseq.evaluation.dataset_files import DatasetSample, DatasetUnavailable, Example
from slimseq.evaluation.metrics import METRICS, score
from slimseq.evaluation.results import EvaluationResult
from slimseq.evaluation.run import CHUNK_EXAMPLES, Generate, Tally, evaluate, generate_with
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import QualityScore
from tests.evaluation.conftest import EchoRuntime

NUMBERS = ("eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn")
EXAMPLES = (
    Example(f"There are {count} ducks. " + "Quack. " * (count % 7), f"Es gibt {NUMBERS[count % 10]} Enten am Teich.")
    for count in range(40)
)
SAMPLE = DatasetSample("ducks", "test", tuple(EXAMPLES))


def output(text: str, truncated: bool = False) -> TextOutput:
    return TextOutput(text=text, finish_reason="eos", input_tokens=5, output_tokens=3, truncated=truncated)


def perfect(examples: Sequence[Example]) -> list[TextOutput]:
    return [output(example.target) for example in examples]


def forgetful(examples: Sequence[Example]) -> list[TextOutput]:
    return [output(example.target.replace("am Teich", "dort"), truncated=True) for example in examples]


def test_results_are_in_the_order_of_the_sample_whatever_the_order_of_generation() -> None:
    result = evaluate(Task.TRANSLATION, SAMPLE, {"original": perfect})

    assert result.variant("original").hypotheses == tuple(example.target for example in SAMPLE.examples)
    assert result.variant("original").metric("bleu").value == pytest.approx(100)


TARGETS = [example.target for example in SAMPLE.examples]


def original_and_pruned() -> EvaluationResult:
    """Evaluates a variant against an original whose outputs are the targets, so that the original's BLEU is 100."""
    return evaluate(Task.TRANSLATION, SAMPLE, {"original": perfect, "pruned": forgetful}, {"pruned": "original"})


def test_a_variant_has_the_score_of_its_outputs_with_an_interval() -> None:
    bleu = original_and_pruned().variant("pruned").metric("bleu")

    expected = score(Task.TRANSLATION, [each.text for each in forgetful(SAMPLE.examples)], TARGETS)["bleu"]
    assert bleu.value == expected.value
    assert bleu.signature == expected.signature
    assert bleu.samples == 40
    assert bleu.interval[0] <= bleu.value <= bleu.interval[1] < 100


def test_retention_is_the_share_of_the_originals_score() -> None:
    bleu = original_and_pruned().variant("pruned").metric("bleu")

    assert bleu.retention == pytest.approx(bleu.value / 100)
    # Every output of `forgetful` lacks the same words, so all resamples have the same score.
    assert bleu.retention_interval == pytest.approx((bleu.retention, bleu.retention))


def test_the_baseline_of_translation_copies_the_source() -> None:
    result = original_and_pruned()

    copied = score(Task.TRANSLATION, [example.source for example in SAMPLE.examples], TARGETS)["bleu"]
    assert result.baseline.name == "source-copy"
    assert result.baseline.values["bleu"] == copied.value
    assert result.variant("pruned").metric("bleu").baseline == copied.value


def test_without_a_reference_there_is_no_retention() -> None:
    result = evaluate(Task.SUMMARIZATION, SAMPLE, {"pruned": forgetful})

    assert [each.metric for each in result.variant("pruned").metrics] == [*METRICS[Task.SUMMARIZATION]]
    assert all(each.retention is None for each in result.variant("pruned").metrics)
    assert result.baseline.name == "lead-3"


def test_systems_take_turns_on_chunks_of_similar_length() -> None:
    calls: list[tuple[str, list[int]]] = []

    def watched(name: str) -> Generate:
        def generate(examples: Sequence[Example]) -> list[TextOutput]:
            calls.append((name, [len(example.source) for example in examples]))
            return perfect(examples)

        return generate

    evaluate(Task.TRANSLATION, SAMPLE, {"a": watched("a"), "b": watched("b")})

    assert [name for name, _ in calls] == ["a", "b", "b", "a", "a", "b"]
    chunks = [lengths for name, lengths in calls if name == "a"]
    assert [len(chunk) for chunk in chunks] == [CHUNK_EXAMPLES, CHUNK_EXAMPLES, 8]
    all_lengths = list(chain.from_iterable(chunks))
    assert all_lengths == sorted(all_lengths, reverse=True)


def test_each_system_is_compared_with_its_own_reference() -> None:
    systems = {"original": forgetful, "pruned": forgetful, "opus": perfect, "opus-int8": forgetful, "alone": perfect}
    references = {"original": "original", "pruned": "original", "opus": "opus", "opus-int8": "opus"}

    result = evaluate(Task.TRANSLATION, SAMPLE, systems, references)

    kept = {each.variant: each.metric("bleu").retention for each in result.variants}
    assert (kept["original"], kept["pruned"], kept["opus"], kept["alone"]) == (1.0, 1.0, 1.0, None)
    assert kept["opus-int8"] == pytest.approx(result.variant("original").metric("bleu").value / 100)
    assert [each.reference for each in result.variants] == ["original", "original", "opus", "opus", None]


def test_tokens_and_truncated_sources_are_counted() -> None:
    result = evaluate(Task.TRANSLATION, SAMPLE, {"original": perfect, "pruned": forgetful}).variant("pruned")

    assert (result.output_tokens, result.truncated) == (120, 40)
    assert result.tokens_per_second == pytest.approx(120 / result.seconds)


def test_progress_counts_the_texts_of_all_systems() -> None:
    reported: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        reported.append((done, total))

    evaluate(Task.TRANSLATION, SAMPLE, {"a": perfect, "b": perfect}, progress=report)

    # The 40 texts come in chunks of 16, 16 and 8.
    assert reported == [(16, 80), (32, 80), (48, 80), (64, 80), (72, 80), (80, 80)]


def test_a_run_goes_on_from_the_outputs_of_an_earlier_one() -> None:
    systems = {"original": perfect, "pruned": forgetful}
    tallies: dict[str, Tally] = {name: Tally() for name in systems}
    generated: list[Example] = []

    def see(system: str, outputs: Mapping[int, TextOutput], seconds: float) -> None:
        if not tallies[system].outputs:
            tallies[system] = Tally(dict(outputs), seconds)

    def counted(examples: Sequence[Example]) -> list[TextOutput]:
        generated.extend(examples)
        return forgetful(examples)

    whole = evaluate(Task.TRANSLATION, SAMPLE, systems, on_outputs=see)
    # Of the first chunk of 16 outputs, one is lost.
    del tallies["pruned"].outputs[min(tallies["pruned"].outputs)]
    resumed = evaluate(Task.TRANSLATION, SAMPLE, {"original": perfect, "pruned": counted}, tallies=tallies)

    assert len(generated) == 40 - 15
    assert [each.metrics for each in resumed.variants] == [each.metrics for each in whole.variants]
    assert resumed.variant("pruned").output_tokens == whole.variant("pruned").output_tokens


@pytest.mark.parametrize(("samples", "is_tested"), [(29, False), (30, True)])
def test_few_samples_have_no_p_value(samples: int, is_tested: bool) -> None:
    sample = replace(SAMPLE, examples=SAMPLE.examples[:samples])
    result = evaluate(Task.TRANSLATION, sample, {"a": perfect, "b": forgetful}, {"b": "a"})

    assert (result.variant("b").metric("bleu").p_value is not None) == is_tested


def test_texts_stay_out_of_the_serialised_result() -> None:
    result = evaluate(Task.TRANSLATION, SAMPLE, {"original": perfect})

    written = result.model_dump_json()

    assert "Enten" not in written


REFERENCE_DIGEST = "sha256:" + "0" * 64


def scores_of(result: EvaluationResult, variant: str) -> list[QualityScore]:
    return result.quality_scores(
        variant, "onnxruntime", ["avx2"], "2025-01-01T00:00:00+00:00", {"num_beams": 1}, REFERENCE_DIGEST
    )


def test_a_score_of_a_manifest_says_what_was_measured_and_how() -> None:
    [bleu, chrf, chrf_with_words] = scores_of(original_and_pruned(), "pruned")

    assert [bleu.metric, chrf.metric, chrf_with_words.metric] == ["bleu", "chrf", "chrf++"]
    assert (bleu.dataset, bleu.split, bleu.samples) == ("ducks", "test", 40)
    assert (bleu.runtime, bleu.cpu_flags, bleu.generation) == ("onnxruntime", ["avx2"], {"num_beams": 1})
    assert bleu.reference == REFERENCE_DIGEST


def test_a_score_of_a_manifest_has_the_retention_of_the_evaluation() -> None:
    result = original_and_pruned()

    scores = scores_of(result, "pruned")

    assert scores[0].retention == result.variant("pruned").metric("bleu").retention


def test_only_the_score_of_the_primary_metric_has_the_agreement() -> None:
    result = original_and_pruned()

    scores = scores_of(result, "pruned")

    assert [each.agreement for each in scores] == [result.variant("pruned").agreement, None, None]


def test_a_variant_has_a_p_value_and_its_reference_has_none() -> None:
    result = original_and_pruned()

    p_value = result.variant("pruned").metric("bleu").p_value

    assert p_value is not None
    assert p_value < 0.01
    assert [each.p_value for each in result.variant("original").metrics] == [None, None, None]


def test_a_variant_agrees_with_its_reference_as_far_as_their_outputs_are_alike() -> None:
    systems = {"original": perfect, "pruned": forgetful, "alone": perfect}

    result = evaluate(Task.TRANSLATION, SAMPLE, systems, {"original": "original", "pruned": "original"})

    outputs = {name: result.variant(name).hypotheses for name in systems}
    assert result.variant("pruned").agreement == mean_agreement(
        Task.TRANSLATION, outputs["pruned"], outputs["original"]
    )
    of_original = result.variant("original").agreement
    assert of_original is not None
    assert (of_original.exact, of_original.similarity) == (1.0, 1.0)
    assert result.variant("alone").agreement is None


@pytest.mark.parametrize(
    ("sample", "systems", "references", "said"),
    [
        (SAMPLE, {"pruned": perfect}, {"pruned": "original"}, "'original' is not among pruned"),
        (SAMPLE, {}, {}, "no system"),
        (DatasetSample("ducks", "test", ()), {"pruned": perfect}, {}, "ducks has no examples"),
        (SAMPLE, {"pruned": lambda examples: perfect(examples)[1:]}, {}, "zip"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    sample: DatasetSample, systems: dict[str, Generate], references: dict[str, str], said: str
) -> None:
    with pytest.raises((ValueError, DatasetUnavailable), match=said):
        evaluate(Task.TRANSLATION, sample, systems, references)


def test_an_open_artifact_generates_in_batches_with_the_prefix_of_each_example(
    open_echo: Callable[[EchoRuntime], TextGenerator], runtime: EchoRuntime
) -> None:
    examples = [Example("good morning", ""), Example("good", "", "headline: "), Example("morning", "", "")]

    generate = generate_with(open_echo(runtime), GenerationOptions(), batch=2)

    assert [each.text for each in generate(examples)] == ["translate: good morning", "headline: good", "morning"]
    assert [len(rows) for rows in runtime.batches] == [2, 1]
