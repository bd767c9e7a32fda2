"""The tables of `evaluate`, `benchmark` and `build`, and the warnings below them."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

from rich.console import Console

from slimseq.cli.make import verdict_table
from slimseq.cli.measure import score_table, useless_bases, without_speed_up
from slimseq.compression.build.build import Built
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.run import evaluate
from slimseq.inference.generator import TextOutput
from slimseq.models_store.manifest import Check, Task, Verdict
from tests.app.serving.artifacts import manifest
from tests.evaluation.test_run import SAMPLE, forgetful, output, perfect
from tests.measured import performance


def silent(examples: Sequence[Example]) -> list[TextOutput]:
    return [output("") for _ in examples]


def test_the_table_has_the_p_value_of_each_variant_but_the_reference() -> None:
    names = {"original": perfect, "pruned": forgetful, "same": perfect}
    result = evaluate(Task.TRANSLATION, SAMPLE, names, {"pruned": "original", "same": "original"})
    shown = StringIO()

    Console(file=shown, width=200).print(score_table(result))

    metrics = len(result.variant("original").metrics)
    assert shown.getvalue().count("p < 0.001") == metrics
    assert shown.getvalue().count("p 1.000") == metrics


def test_the_title_says_that_there_are_few_samples() -> None:
    few = replace(SAMPLE, examples=SAMPLE.examples[:29])

    titles = [score_table(evaluate(Task.TRANSLATION, sample, {"original": perfect})).title for sample in (few, SAMPLE)]

    assert titles[0] == "translation on ducks (test), 29 samples, too few to compare variants"
    assert titles[1] == "translation on ducks (test), 40 samples"


def test_the_verdicts_of_a_build_have_intervals_and_warnings() -> None:
    named: dict[str, Any] = {"metric": "chrf", "dataset": "news", "interval": (0.96, 0.98)}
    confident = Check(
        name="retention of chrf on news", value=0.97, limit=0.95, is_passed=True, is_confident=True, **named
    )
    useless = confident.model_copy(update={"warnings": ["original scores no more than a copy"], "is_confident": False})
    checks = [confident, useless, Check(name="times smaller", value=3.0, limit=3.5, is_passed=False)]
    built = Built(built=["small"], current=["same"], verdicts={"small": Verdict(status="rejected", checks=checks)})
    shown = StringIO()

    table, warnings = verdict_table("mine", built)
    Console(file=shown, width=200).print(table)

    text = shown.getvalue()
    assert "retention of chrf on news: holds  " in text
    assert "0.95, for the lower bound" in text
    assert "retention of chrf on news: holds, but see the warning" in text
    assert "0.970 [0.960, 0.980]" in text
    assert "times smaller: FAILS" in text
    assert warnings == ["Warning: small: original scores no more than a copy."]


def test_a_variant_without_a_speed_up_says_why() -> None:
    base: dict[str, Any] = {"reference": manifest().digest, "reference_tokens_per_second": 100.0}
    measured = {
        "original": performance(100, **base),
        "small": performance(300, **base),
        "other": performance(900, runtime="ctranslate2"),
        "foreign": performance(900),
    }
    references = {"original": "original", "small": "original", "other": "original", "foreign": "opus"}

    said = without_speed_up(measured, references)

    assert said == [
        "other has no speed-up: it was measured on ctranslate2 and its base model original on onnxruntime. "
        "--runtime measures both on one.",
        "foreign has no speed-up: its base model opus was not measured in this run.",
    ]


def test_a_base_model_that_scores_no_more_than_the_baseline_is_said_beside_the_scores() -> None:
    own = {"original": "original"}

    [warning] = useless_bases(evaluate(Task.TRANSLATION, SAMPLE, {"original": silent}, own))

    assert warning.startswith("original has 0.00 of bleu, no more than the trivial baseline (source-copy: ")
    assert useless_bases(evaluate(Task.TRANSLATION, SAMPLE, {"original": perfect}, own)) == []
