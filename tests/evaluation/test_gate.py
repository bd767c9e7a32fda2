"""Quality gates: what each condition compares, and when a check passes or warns."""

import json
from typing import Any

import pytest

from slimseq.evaluation.gate import Gate, NotMeasured, renewed_verdict, times_smaller, verdict_on, words_of
from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.models_store.manifest import Check, Manifest
from slimseq.models_store.measurements import Performance
from slimseq.models_store.places import embedded_store
from tests.compression.report.conftest import performance
from tests.evaluation.conftest import artifact_manifest
from tests.measured import score


def measured(*performances: Performance) -> Manifest:
    return artifact_manifest().model_copy(update={"performance": list(performances)})


def test_speed_is_compared_on_the_runtime_that_is_fastest_for_the_variant() -> None:
    original = measured(
        performance(9000, batch=1, runtime="onnxruntime"),
        performance(1000, batch=16, runtime="onnxruntime"),
        performance(2000, batch=16, runtime="ctranslate2"),
    )
    variant = measured(
        performance(3000, batch=16, runtime="onnxruntime"), performance(8000, batch=16, runtime="ctranslate2")
    )

    verdict = verdict_on(variant, original, Gate(faster=3.5))

    assert [check.value for check in verdict.checks] == [4.0]
    assert verdict.status == "passed"


def test_speed_is_that_of_this_machine_where_a_manifest_has_it_of_others() -> None:
    here = {"host": host_name(), "cpu_flags": cpu_flags()}
    original = measured(performance(1000, batch=16), performance(500, batch=16, **here))
    variant = measured(performance(9000, batch=16), performance(2000, batch=16, **here))

    verdict = verdict_on(variant, original, Gate(faster=5))

    assert [check.value for check in verdict.checks] == [4.0]
    assert verdict.status == "rejected"


def test_speeds_of_different_settings_are_not_compared() -> None:
    original = measured(performance(1000, batch=16, threads=2))

    with pytest.raises(NotMeasured, match="no run measured its speed beside"):
        verdict_on(measured(performance(3000, batch=16, threads=1)), original, Gate(faster=2))


def test_a_condition_on_what_was_not_measured_is_named() -> None:
    variant = artifact_manifest().model_copy(update={"quality": [score(30.0)], "performance": []})

    with pytest.raises(NotMeasured, match="original: the gate has a condition on chrf, which no test set measures"):
        verdict_on(variant, artifact_manifest(), Gate(retention=0.9, metric="chrf"))
    with pytest.raises(NotMeasured, match="original: the gate has a condition on speed, which was not measured"):
        verdict_on(variant, artifact_manifest(), Gate(faster=2))


def test_retention_of_a_reference_that_scores_0_is_undefined_and_does_not_pass() -> None:
    variant = artifact_manifest().model_copy(update={"quality": [score(0.0, retention=None)]})

    [check] = verdict_on(variant, artifact_manifest(), Gate(retention=0.9, metric="bleu")).checks

    assert (check.value, check.is_passed) == (None, False)


def test_times_smaller_compares_the_smallest_format_with_the_reference_in_fp32() -> None:
    manifest = artifact_manifest()
    original, variant = (
        manifest.model_copy(update={"size": manifest.size.model_copy(update=size)})
        for size in ({"fp32_bytes": 200}, {"fp32_bytes": 120, "bytes_by_format": {"safetensors": 100, "onnx": 50}})
    )

    [check] = verdict_on(variant, original, Gate(smaller=5)).checks

    assert check.value == 4.0
    assert times_smaller(variant, original) == 4.0
    assert not check.is_passed


# What a first run derives takes its verdict from the recorded file.
@pytest.mark.parametrize("file", ["derived.json", "pruned/manifest.json", "distilled/manifest.json"])
@pytest.mark.parametrize("task", ["summarization", "translation"])
def test_embedded_verdicts_have_the_values_of_the_scores_beside_them(task: str, file: str) -> None:
    found = json.loads((embedded_store() / task / file).read_text(encoding="utf-8"))
    for manifest in found.get("manifests", [found]):
        scores = {
            f"retention of {each['metric']} on {each['dataset']}": each["retention"] for each in manifest["quality"]
        }
        checks = manifest["gate"]["checks"] if manifest["gate"] else []

        assert [
            check for check in checks if check["value"] != round(scores.get(check["name"], check["value"]), 4)
        ] == []


def retained(kept: float, half: float, **more: Any) -> Manifest:
    """A variant whose one score has a retention with an interval."""
    interval = round(kept - half, 6), round(kept + half, 6)
    found = score(more.pop("value", 30.0), **({"retention": kept, "retention_interval": interval} | more))
    return artifact_manifest().model_copy(update={"quality": [found]})


def check_of(manifest: Manifest, gate: Gate) -> Check:
    [check] = verdict_on(manifest, artifact_manifest(), gate).checks
    return check


def test_a_check_of_retention_names_its_metric_data_set_and_interval() -> None:
    check = check_of(retained(0.97, 0.01, metric="chrf", dataset="news"), Gate(metric="chrf", retention=0.95))

    assert (check.metric, check.dataset, check.interval) == ("chrf", "news", (0.96, 0.98))
    assert check.name == "retention of chrf on news"
    assert words_of(check) == "holds"
    assert check.warnings == []


def test_a_confident_gate_asks_for_the_lower_bound_of_the_interval() -> None:
    measured = retained(0.97, 0.03)

    by_value = check_of(measured, Gate(retention=0.95))
    confident = check_of(measured, Gate(retention=0.95, confident=True))
    narrow = check_of(retained(0.97, 0.01), Gate(retention=0.95, confident=True))

    assert (by_value.is_passed, confident.is_passed, narrow.is_passed) == (True, False, True)
    assert confident.is_confident
    assert confident.value == 0.97
    assert words_of(confident) == "FAILS"
    assert verdict_on(measured, artifact_manifest(), Gate(retention=0.95, confident=True)).status == "rejected"


def test_a_confident_gate_does_not_pass_without_an_interval() -> None:
    unknown = artifact_manifest().model_copy(update={"quality": [score(30.0, retention=0.99)]})

    assert not check_of(unknown, Gate(retention=0.9, confident=True)).is_passed


def test_samples_that_are_too_few_for_the_limit_are_said() -> None:
    few = check_of(retained(0.995, 0.016, samples=500, dataset="reuters"), Gate(retention=0.99))
    enough = check_of(retained(0.995, 0.009), Gate(retention=0.99))

    assert few.is_passed
    assert words_of(few) == "holds, but see the warning"
    [warning] = few.warnings
    assert warning.startswith("500 samples of reuters are too few for this limit: the 95 % interval is 0.979 to 1.011")
    assert "the limit leaves 0.010 below 1" in warning
    assert enough.warnings == []


def test_a_base_model_below_the_trivial_baseline_is_said_where_its_variant_passes() -> None:
    """Random weights: the variant scores 2.45, eight times the 0.3 of its base model."""
    check = check_of(retained(8.174, 0.01, value=2.4522, baseline=12.0, dataset="news"), Gate(retention=0.9))

    assert check.is_passed
    assert words_of(check) == "holds, but see the warning"
    [warning] = check.warnings
    assert warning.startswith(
        "original has 0.30 of bleu on news, no more than the trivial baseline (source-copy: 12.00)"
    )


def test_a_base_model_above_the_trivial_baseline_needs_no_warning() -> None:
    better = retained(1.0, 0.001, value=21.44, baseline=20.97)

    assert check_of(better, Gate(retention=0.9)).warnings == []


def test_a_gate_judges_test_sets_and_not_the_small_sample_beside_them() -> None:
    scores = [score(30.0, retention=0.5), score(30.0, retention=0.97, dataset="news")]
    variant = artifact_manifest().model_copy(update={"quality": scores})

    assert check_of(variant, Gate(retention=0.9)).dataset == "news"


def test_a_check_of_an_earlier_version_has_the_metric_and_data_set_that_its_name_says() -> None:
    old = Check.model_validate(
        {"name": "retention of chrf on test.flores101", "value": 0.97, "limit": 0.95, "is_passed": True}
    )
    other = Check.model_validate({"name": "times smaller", "value": 9.0, "limit": 8.0, "is_passed": True})

    assert (old.metric, old.dataset) == ("chrf", "test.flores101")
    assert (other.metric, other.dataset) == (None, None)


def test_a_verdict_follows_scores_that_are_measured_anew() -> None:
    before = retained(0.97, 0.01, dataset="news")
    verdict = verdict_on(before, artifact_manifest(), Gate(retention=0.95, smaller=0.1))

    renewed = renewed_verdict(before, verdict, [*retained(0.94, 0.01, dataset="news").quality, score(1.0, dataset="x")])

    retention, smaller = renewed.checks
    assert (retention.value, retention.is_passed, renewed.status) == (0.94, False, "rejected")
    assert smaller == verdict.checks[1]
