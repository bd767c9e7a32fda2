"""COMET cannot run beside us: another program stands in for its library, and everything around it is real."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimseq.evaluation.comet_files import (
    BadScores,
    OutputsHeader,
    ScoredVariant,
    quality_scores,
    read_scores,
    write_outputs,
)
from slimseq.evaluation.examples import Example
from slimseq.models_store.manifest import Task

SCORER = Path(__file__).parents[2] / "evaluation" / "slimseq" / "evaluation" / "comet_environment" / "score.py"
EXAMPLES = [Example("Good morning.", "Guten Morgen."), Example("Yes.", "Ja."), Example('A "quote".', "Ein „Zitat“.\n")]
OUTPUTS = {"original": ["Guten Morgen.", "Ja.", "Ein Zitat."], "small": ["Morgen.", "Ja.", ""]}
DIGEST = "sha256:" + "a" * 64
HEADER = OutputsHeader(
    task=Task.TRANSLATION,
    dataset="sample",
    split="test",
    samples=3,
    cpu_flags=["avx2"],
    measured_at="2026-01-01T00:00:00+00:00",
    variants={
        "original": ScoredVariant(digest=DIGEST, reference="original", runtime="onnxruntime", generation={}),
        "small": ScoredVariant(digest=DIGEST, reference="original", runtime="onnxruntime", generation={"num_beams": 2}),
    },
)
# The score is the share of the reference's length, and what it was asked is kept.
STAND_IN = """
import json, types
def download_model(name): return name
class Model:
    def predict(self, samples, batch_size, gpus):
        json.dump([samples, batch_size, gpus], open("asked.json", "w"))
        return types.SimpleNamespace(scores=[min(len(each["mt"]) / len(each["ref"]), 1) for each in samples])
def load_from_checkpoint(path):
    open("loaded", "w").write(path)
    return Model()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with outputs, and with a stand-in for the library of COMET."""
    (tmp_path / "library" / "unbabel_comet-2.2.4.dist-info").mkdir(parents=True)
    (tmp_path / "library" / "unbabel_comet-2.2.4.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: unbabel-comet\nVersion: 2.2.4\n"
    )
    (tmp_path / "library" / "comet.py").write_text(STAND_IN)
    write_outputs(tmp_path / "outputs.jsonl", HEADER, EXAMPLES, OUTPUTS)
    return tmp_path


def scored(folder: Path, *options: str) -> Path:
    """Runs the scorer as in its own environment: without our packages, other than by its path."""
    command = [sys.executable, str(SCORER), "outputs.jsonl", "scores.json", "--batch", "4", *options]
    environment = {"PYTHONPATH": str(folder / "library")}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return folder / "scores.json"


def test_the_outputs_file_has_what_comet_reads(folder: Path) -> None:
    header, *lines = map(json.loads, (folder / "outputs.jsonl").read_text(encoding="utf-8").splitlines())

    assert OutputsHeader.model_validate(header) == HEADER
    assert lines[2] == {"variant": "original", "src": 'A "quote".', "mt": "Ein Zitat.", "ref": "Ein „Zitat“.\n"}
    assert [line["variant"] for line in lines] == ["original"] * 3 + ["small"] * 3


def test_every_output_is_scored_and_the_scores_are_those_of_manifests(folder: Path) -> None:
    found = quality_scores(read_scores(scored(folder)))

    asked, *settings = json.loads((folder / "asked.json").read_text())
    assert settings == [4, 0] and asked[3] == {"src": "Good morning.", "mt": "Morgen.", "ref": "Guten Morgen."}
    original, small = found["original"], found["small"]
    assert (original.metric, original.dataset, original.samples, original.reference) == ("comet", "sample", 3, DIGEST)
    assert original.signature == "model:Unbabel/wmt22-comet-da|version:2.2.4"
    assert (original.retention, original.p_value) == (1.0, None)
    assert small.value == pytest.approx(100 * (7 / 13 + 1 + 0) / 3)
    assert small.retention == pytest.approx(small.value / original.value) and small.generation == {"num_beams": 2}
    assert small.interval[0] <= small.value <= small.interval[1]
    assert small.p_value is not None and 0 < small.p_value <= 1


def test_a_model_of_this_machine_is_not_downloaded_and_has_the_name_of_its_folder(folder: Path) -> None:
    found = read_scores(scored(folder, "--model", "models/own-comet/checkpoints/last.ckpt"))

    assert (folder / "loaded").read_text() == "models/own-comet/checkpoints/last.ckpt"
    assert found.model == "own-comet"


def test_scores_below_zero_have_no_retention(folder: Path) -> None:
    found = json.loads(scored(folder).read_text())
    found["scores"] = {"original": [-0.2, -0.1, -0.3], "small": [-0.3, -0.1, -0.3]}
    (folder / "scores.json").write_text(json.dumps(found))

    small = quality_scores(read_scores(folder / "scores.json"))["small"]

    assert small.value == pytest.approx(-100 * 0.7 / 3) and small.reference == DIGEST
    assert (small.retention, small.retention_interval) == (None, None) and small.p_value is not None


def test_without_its_reference_a_variant_has_no_retention(folder: Path) -> None:
    found = json.loads(scored(folder).read_text())
    del found["scores"]["original"], found["header"]["variants"]["original"]
    (folder / "scores.json").write_text(json.dumps(found))

    small = quality_scores(read_scores(folder / "scores.json"))["small"]

    assert (small.retention, small.reference, small.p_value) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": {"original": [1, 1], "small": [1, 1, 1]}}, "has 2 scores of original, not 3"),
        ({"scores": {"original": [1, 1, 1]}}, "has scores of original, not of original, small"),
        ({"scores": {"original": ["good"], "small": [1, 1, 1]}}, "should be a valid number"),
        ({"scores": {"original": [1e999, 1, 1], "small": [1, 1, 1]}}, "finite|not a number"),
        ({"header": HEADER.model_dump(mode="json") | {"task": "summarization"}}, "COMET judges translations"),
        ({"more": 1}, "more: is not a known field"),
    ],
)
def test_scores_that_do_not_fit_are_refused(folder: Path, change: dict[str, Any], said: str) -> None:
    found = json.loads(scored(folder).read_text())
    (folder / "scores.json").write_text(json.dumps(found | change))

    with pytest.raises(BadScores, match=said):
        read_scores(folder / "scores.json")


def test_a_file_of_something_else_is_refused(folder: Path) -> None:
    with pytest.raises(BadScores, match="is not a file of comet_environment"):
        read_scores(folder / "outputs.jsonl")
    with pytest.raises(BadScores, match="No such file"):
        read_scores(folder / "absent.json")
