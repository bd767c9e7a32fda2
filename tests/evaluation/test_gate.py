import json

import pytest

from slimseq.evaluation.gate import Gate, NotMeasured, times_smaller, verdict_on
from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.models_store.manifest import Manifest
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

    with pytest.raises(NotMeasured, match="in other settings"):
        verdict_on(measured(performance(3000, batch=16, threads=1)), original, Gate(faster=2))


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

    assert check.value == 4.0 == times_smaller(variant, original) and not check.is_passed


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
