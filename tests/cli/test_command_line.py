"""The verbs `list`, `verify` and `evaluate` on a store with tiny models: what they print, record and refuse."""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store
from tests.command_line import compression, invoked
from tests.compression.tiny import tiny_file


@pytest.mark.parametrize(
    ("verb", "unused"),
    [
        ("quantize", ("--weights", "--unlabelled", "--checkpoint")),
        ("train", ("--alpha", "--temperature", "--hidden-states", "--attention ", "--unlabelled", "--calibration")),
        ("distill", ("--calibration",)),
        ("average", ("--data ", "--dev ")),
    ],
)
def test_help_shows_only_what_the_verb_uses(verb: str, unused: tuple[str, ...]) -> None:
    shown = invoked(verb, "--help").out

    assert "--name" in shown
    assert [option for option in unused if option in shown] == []


def test_list_shows_what_the_store_holds(embedded: Store) -> None:
    table = compression("list", COLUMNS="200")
    manifests = compression("list", "--json").json

    assert "original" in table.out
    assert "quantized" in table.out
    # The columns are: variant, family, parameters, size, gate, formats. Another column has the lineage.
    assert re.search(r"│ compact +│ bart +│ +4,448,000 │ +4\.7 MB │ passed +│ ctranslate2", table.out)
    assert re.search(r"→ tune-beams +│", table.out)
    listed = {f"{each['task']}/{each['variant']}" for each in manifests}
    assert {"translation/original", "translation/quantized"} <= listed
    assert {"summarization/original", "summarization/quantized"} <= listed


def test_verify_names_the_broken_file_and_exits_with_1(own_store: Store) -> None:
    (own_store.folder(Task.SUMMARIZATION, "quantized") / "onnx" / "encoder.onnx").write_bytes(b"")

    done = compression("verify", "--store", own_store.root, "--json")

    assert done.code == 1
    assert "onnx/encoder.onnx" in done.json["summarization/quantized"]["error"]
    assert done.json["translation/quantized"] == {"ok": True, "error": None}


@pytest.fixture(scope="module")
def evaluated(embedded: Store) -> list[dict[str, Any]]:
    """What `evaluate` prints for `quantized`: the results of its original, and then its own."""
    done = compression("evaluate", "translation", "quantized", "--samples", 20, "--json")
    assert done.code == 0, done.error
    variants: list[dict[str, Any]] = done.json["variants"]
    return variants


def test_evaluate_evaluates_the_original_too_by_every_metric(evaluated: list[dict[str, Any]]) -> None:
    assert [each["variant"] for each in evaluated] == ["original", "quantized"]
    for each in evaluated:
        assert [metric["metric"] for metric in each["metrics"]] == ["bleu", "chrf", "chrf++"]


def test_evaluate_prints_a_score_with_interval_signature_and_baseline(evaluated: list[dict[str, Any]]) -> None:
    bleu = evaluated[1]["metrics"][0]

    low, high = bleu["interval"]
    assert low <= bleu["value"] <= high
    assert bleu["samples"] == 20
    assert bleu["signature"].startswith("nrefs:1|")
    assert bleu["baseline"] < bleu["value"]


def test_evaluate_prints_what_a_variant_keeps_of_the_originals_score(evaluated: list[dict[str, Any]]) -> None:
    original, quantized = (each["metrics"][0] for each in evaluated)

    assert quantized["retention"] == pytest.approx(quantized["value"] / original["value"])


def test_evaluate_prints_how_far_a_variants_outputs_agree_with_the_originals(evaluated: list[dict[str, Any]]) -> None:
    agreement = evaluated[1]["agreement"]

    low, high = agreement["interval"]
    assert agreement["metric"] == "chrf"
    assert 0.9 < agreement["exact"] <= 1
    assert low <= agreement["similarity"] <= high


def test_outputs_are_written_for_other_metrics_one_a_line(embedded: Store, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.jsonl"

    done = compression("evaluate", "translation", "quantized", "--samples", 3, "--outputs", outputs)

    assert done.code == 0, done.error
    lines = [json.loads(line) for line in outputs.read_text(encoding="utf-8").splitlines()]
    assert [line["variant"] for line in lines] == ["original"] * 3 + ["quantized"] * 3
    assert lines[0]["src"] == "The soup is still too hot."
    assert lines[3]["src"] == "The soup is still too hot."
    assert all(line["mt"] for line in lines)


def test_outputs_into_a_folder_that_is_not_there_are_refused_before_anything_is_generated(embedded: Store) -> None:
    done = compression("evaluate", "translation", "quantized", "--outputs", "absent/outputs.jsonl")

    assert done.code == 1
    assert done.error.endswith("error: --outputs: there is no folder absent\n")


def test_scores_are_recorded_on_request(own_store: Store) -> None:
    done = compression("evaluate", "translation", "quantized", "--samples", 30, "--record", "--store", own_store.root)

    assert done.code == 0, done.error
    manifest = own_store.manifest(Task.TRANSLATION, "quantized")
    [bleu] = [score for score in manifest.quality if score.metric == "bleu" and score.samples == 30]
    assert bleu.runtime == "onnxruntime"
    assert bleu.agreement is not None
    assert bleu.agreement.exact > 0.5
    # The defaults of the embedded translator.
    assert bleu.generation["num_beams"] == 4
    assert bleu.generation["max_input_tokens"] == 256
    model_card = own_store.folder(Task.TRANSLATION, "quantized") / "README.md"
    assert "| sample (test) | 30 | bleu |" in model_card.read_text()


@pytest.fixture
def evaluation_of_dev_data(own_store: Store, tmp_path: Path) -> list[object]:
    """A command that evaluates `quantized` on dev data. 40 pairs are the fewest that a confidence needs."""
    dev = tmp_path / "dev.jsonl"
    dev.write_bytes((resources.files("slimseq.evaluation") / "samples" / "translation.jsonl").read_bytes())
    return ["evaluate", "translation", "quantized", "--data", dev, "--samples", 40, "--store", own_store.root]


def test_dev_data_shows_a_confidence_and_changes_nothing(
    own_store: Store, evaluation_of_dev_data: list[object]
) -> None:
    before = own_store.manifest(Task.TRANSLATION, "quantized")

    done = compression(*evaluation_of_dev_data)

    assert done.code == 0, done.error
    assert re.search(
        r"^Confidence of the outputs of quantized: rank correlation with their quality [\d.]+ \[.*\], "
        r"calibration error [\d.]+$",
        done.out,
        re.M,
    )
    assert own_store.manifest(Task.TRANSLATION, "quantized") == before


def test_recorded_dev_data_gives_translations_a_confidence(
    own_store: Store, evaluation_of_dev_data: list[object]
) -> None:
    done = compression(*evaluation_of_dev_data, "--record")

    assert done.code == 0, done.error
    manifest = own_store.manifest(Task.TRANSLATION, "quantized")
    confidence = manifest.confidence
    assert confidence is not None
    assert (confidence.dataset, confidence.split, confidence.samples) == ("dev", "dev", 40)
    assert confidence.runtime == "onnxruntime"
    assert confidence.generation["num_beams"] == manifest.generation.num_beams
    assert confidence.measured_at
    # The first number of a point is a mean log-probability.
    assert confidence.points[0][0] < confidence.points[-1][0] < 0
    own_store.verify(Task.TRANSLATION, "quantized")


@pytest.mark.parametrize(
    "arguments",
    [
        ("quantize", "translation", "original"),
        ("prune", "translation", "original", "--name", "quantized", "--max-steps", "0"),
        ("distill", "translation", "original", "--name", "quantized", "--max-steps", "0"),
        ("train", "translation", "--max-steps", "1"),
    ],
)
def test_an_artifact_is_replaced_only_by_force(own_store: Store, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    before = translators_of(own_store)
    data = () if arguments[0] == "quantize" else ("--data", tiny_file(tmp_path))

    done = compression(*arguments, *data, "--store", own_store.root)

    assert done.code == 1
    assert "exists already; give another --name, or --force to replace it" in done.error
    assert translators_of(own_store) == before


def translators_of(store: Store) -> dict[str, Manifest | None]:
    return {entry.variant: entry.manifest for entry in store.scan() if entry.task is Task.TRANSLATION}
