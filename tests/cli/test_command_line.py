import json
import re
from pathlib import Path

import pytest

from slimseq.cli.main import all_verbs
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression, invoked
from tests.compression.tiny import tiny_file


@pytest.mark.parametrize("verb", [verb for verb in all_verbs() if verb not in ("serve", "deploy", "keys")])
def test_defaults_are_shown_as_they_are_typed(verb: str) -> None:
    assert re.findall(r"\[default:\s*[(\[{<'].*", invoked(verb, "--help").out) == []


@pytest.mark.parametrize(
    ("verb", "unused"),
    [
        ("quantize", ("--weights", "--lead-words", "--unlabelled", "--checkpoint")),
        ("train", ("--alpha", "--temperature", "--hidden-states", "--attention ", "--unlabelled", "--calibration")),
        ("distill", ("--calibration",)),
        ("tune-beams", ("--seed", "--device")),
    ],
)
def test_help_shows_only_what_the_verb_uses(verb: str, unused: tuple[str, ...]) -> None:
    shown = invoked(verb, "--help").out

    assert "--name" in shown
    assert [option for option in unused if option in shown] == []


def test_list_shows_what_the_store_holds(embedded: Store) -> None:
    table = compression("list", COLUMNS="200")
    manifests = compression("list", "--json").json

    assert "original" in table.out and "quantized" in table.out
    assert re.search(r"│ compact +│ bart +│ +4,448,000 │ +4\.7 MB │ ctranslate2", table.out)
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


def test_an_unknown_variant_is_one_line_that_names_the_known(embedded: Store) -> None:
    done = compression("quantize", "translation", "absent")

    assert done.code == 1
    assert done.error.startswith("error: translation has no variant 'absent'; it has original")
    assert len(done.error.splitlines()) == 1


def test_a_variant_without_safetensors_cannot_be_a_parent(own_store: Store, tmp_path: Path) -> None:
    words = ("prune", "translation", "quantized", "--name", "slim", "--data", tiny_file(tmp_path))

    done = compression(*words, "--store", own_store.root)

    assert done.code == 1
    assert done.error == "error: translation/quantized has no safetensors to start from; start from one that has\n"


def test_evaluate_prints_every_metric_with_interval_retention_and_baseline(embedded: Store) -> None:
    done = compression("evaluate", "translation", "quantized", "--samples", 20, "--json")

    assert done.code == 0, done.error
    original, quantized = done.json["variants"]
    assert (original["variant"], quantized["variant"]) == ("original", "quantized")
    bleu = quantized["metrics"][0]
    assert bleu["metric"] == "bleu" and bleu["samples"] == 20
    assert bleu["interval"][0] <= bleu["value"] <= bleu["interval"][1]
    assert bleu["retention"] == pytest.approx(bleu["value"] / original["metrics"][0]["value"])
    assert bleu["baseline"] < bleu["value"]
    assert bleu["signature"].startswith("nrefs:1|")
    agreement = quantized["agreement"]
    assert agreement["metric"] == "chrf" and 0.9 < agreement["exact"] <= 1
    assert agreement["interval"][0] <= agreement["similarity"] <= agreement["interval"][1]
    assert [metric["metric"] for metric in quantized["metrics"]] == ["bleu", "chrf", "chrf++"]


def test_evaluate_shows_agreement_and_how_much_summaries_copy(embedded: Store) -> None:
    done = compression("evaluate", "summarization", "quantized", "--samples", 4)

    assert done.code == 0, done.error
    shown = " ".join(done.out.split())
    for words in ("Agreement with the reference's outputs", "equal outputs", "copy_rate", "density", "length_ratio"):
        assert words in shown


def test_outputs_are_written_for_other_metrics_one_a_line(embedded: Store, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs.jsonl"

    done = compression("evaluate", "translation", "quantized", "--samples", 3, "--outputs", outputs)

    assert done.code == 0, done.error
    lines = [json.loads(line) for line in outputs.read_text(encoding="utf-8").splitlines()]
    assert [line["variant"] for line in lines] == ["original"] * 3 + ["quantized"] * 3
    assert lines[0]["src"] == lines[3]["src"] == "The soup is still too hot." and all(line["mt"] for line in lines)


def test_outputs_into_a_folder_that_is_not_there_are_refused_before_anything_is_generated(embedded: Store) -> None:
    done = compression("evaluate", "translation", "quantized", "--outputs", "absent/outputs.jsonl")

    assert done.code == 1 and "--outputs: there is no folder absent" in done.error


def test_scores_are_recorded_on_request(own_store: Store) -> None:
    done = compression("evaluate", "translation", "quantized", "--samples", 10, "--record", "--store", own_store.root)

    assert done.code == 0, done.error
    manifest = own_store.manifest(Task.TRANSLATION, "quantized")
    [bleu] = [score for score in manifest.quality if score.metric == "bleu" and score.samples == 10]
    assert bleu.runtime == "onnxruntime"
    assert bleu.agreement is not None and bleu.agreement.exact > 0.5
    assert bleu.generation["num_beams"] == 4 and bleu.generation["max_input_tokens"] == 256
    assert (
        "| sample (test) | 10 | bleu |" in (own_store.folder(Task.TRANSLATION, "quantized") / "README.md").read_text()
    )


def test_a_failed_gate_exits_with_2(embedded: Store, tmp_path: Path) -> None:
    data = tmp_path / "test.reversed.jsonl"
    rows = [{"source": "The sun is shining.", "target": "Die Sonne scheint."}] * 2
    data.write_text("\n".join(json.dumps(row) for row in rows))

    passed = compression("evaluate", "translation", "quantized", "--data", data, "--min-retention", 0)
    failed = compression("evaluate", "translation", "quantized", "--data", tmp_path / "absent.jsonl")

    assert passed.code == 0, passed.error
    assert failed.code == 1 and "absent.jsonl" in failed.error


def test_benchmark_measures_variants_side_by_side(embedded: Store) -> None:
    done = compression("benchmark", "translation", "original", "quantized", "--samples", 4, "--repeats", 1, "--json")

    assert done.code == 0, done.error
    for variant in ("original", "quantized"):
        figures = done.json[variant]
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        assert figures["tokens_per_second"] > 0


def test_benchmark_gives_all_variants_equal_work(embedded: Store) -> None:
    settings = ("--samples", 2, "--repeats", 1, "--new-tokens", 5, "--json")

    done = compression("benchmark", "translation", "original", "quantized", *settings)

    assert [each["output_tokens"] for each in done.json.values()] == [5, 5]


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


def test_the_same_files_keep_their_scores_when_they_are_made_again(own_store: Store) -> None:
    before = own_store.manifest(Task.TRANSLATION, "quantized")
    assert before.quality

    done = compression("quantize", "translation", "original", "--force", "--store", own_store.root)

    after = own_store.manifest(Task.TRANSLATION, "quantized")
    assert done.code == 0, done.error
    assert (after.digest, after.quality) == (before.digest, before.quality)


def test_a_bad_name_is_refused_before_any_work(own_store: Store) -> None:
    done = compression("quantize", "translation", "original", "--name", "Bad Name", "--store", own_store.root)

    assert done.code == 1
    assert done.error.startswith("error: 'Bad Name' is not a valid name")
    assert len(done.error.splitlines()) == 1
