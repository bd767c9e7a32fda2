"""The verbs `list`, `verify` and `evaluate` on a store with tiny models: what they print, record and refuse."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from slimseq.models_store.manifest import Task
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
    assert re.search(r"│ compact +│ bart +│ +4,448,000 │ +4\.7 MB │ passed +│ ctranslate2", table.out)
    assert re.search(r"→ tune-beams +│", table.out)
    assert {(each["task"], each["variant"]) for each in manifests} >= {
        (task.value, variant) for task in Task for variant in ("original", "quantized")
    }


def test_verify_names_the_broken_file_and_exits_with_1(own_store: Store) -> None:
    (own_store.folder(Task.SUMMARIZATION, "quantized") / "onnx" / "encoder.onnx").write_bytes(b"")

    done = compression("verify", "--store", own_store.root, "--json")

    assert done.code == 1
    assert "onnx/encoder.onnx" in done.json["summarization/quantized"]["error"]
    assert done.json["translation/quantized"] == {"ok": True, "error": None}


def test_evaluate_prints_every_metric_with_interval_retention_and_baseline(embedded: Store) -> None:
    done = compression("evaluate", "translation", "quantized", "--samples", 20, "--json")

    assert done.code == 0, done.error
    original, quantized = done.json["variants"]
    assert (original["variant"], quantized["variant"]) == ("original", "quantized")
    bleu = quantized["metrics"][0]
    assert bleu["metric"] == "bleu"
    assert bleu["samples"] == 20
    assert bleu["interval"][0] <= bleu["value"] <= bleu["interval"][1]
    assert bleu["retention"] == pytest.approx(bleu["value"] / original["metrics"][0]["value"])
    assert bleu["baseline"] < bleu["value"]
    assert bleu["signature"].startswith("nrefs:1|")
    agreement = quantized["agreement"]
    assert agreement["metric"] == "chrf"
    assert 0.9 < agreement["exact"] <= 1
    assert agreement["interval"][0] <= agreement["similarity"] <= agreement["interval"][1]
    assert [metric["metric"] for metric in quantized["metrics"]] == ["bleu", "chrf", "chrf++"]


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
    assert bleu.generation["num_beams"] == 4
    assert bleu.generation["max_input_tokens"] == 256
    assert (
        "| sample (test) | 30 | bleu |" in (own_store.folder(Task.TRANSLATION, "quantized") / "README.md").read_text()
    )


def test_recorded_dev_data_gives_translations_a_confidence(own_store: Store, tmp_path: Path) -> None:
    dev, before = tmp_path / "dev.jsonl", own_store.manifest(Task.TRANSLATION, "quantized")
    dev.write_bytes((resources.files("slimseq.evaluation") / "samples" / "translation.jsonl").read_bytes())
    words = ("evaluate", "translation", "quantized", "--data", dev, "--samples", 40, "--store", own_store.root)

    shown = compression(*words)
    unchanged = own_store.manifest(Task.TRANSLATION, "quantized")
    recorded = compression(*words, "--record")

    assert shown.code == 0, shown.error + recorded.error
    assert recorded.code == 0, shown.error + recorded.error
    assert re.search(
        r"^Confidence of the outputs of quantized: rank correlation with their quality [\d.]+ \[.*\], "
        r"calibration error [\d.]+$",
        shown.out,
        re.M,
    )
    assert unchanged == before
    after = own_store.manifest(Task.TRANSLATION, "quantized")
    found = after.confidence
    assert found is not None
    assert (found.dataset, found.split, found.samples) == ("dev", "dev", 40)
    assert found.runtime == "onnxruntime"
    assert found.generation["num_beams"] == before.generation.num_beams
    assert found.points[0][0] < found.points[-1][0] < 0
    assert found.measured_at
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
    before = {entry.variant: entry.manifest for entry in own_store.scan() if entry.task is Task.TRANSLATION}
    data = () if arguments[0] == "quantize" else ("--data", tiny_file(tmp_path))

    done = compression(*arguments, *data, "--store", own_store.root)

    assert done.code == 1
    assert "exists already; give another --name, or --force to replace it" in done.error
    assert before == {entry.variant: entry.manifest for entry in own_store.scan() if entry.task is Task.TRANSLATION}
