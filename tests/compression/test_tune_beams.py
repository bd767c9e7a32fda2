"""A variant gets as many beams as it needs, and keeps its weights."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.distill import DistillOptions, StudentTraining, distill
from slimseq.compression.errors import BadData, BadParameters
from slimseq.compression.held_out import MIN_PAIRS
from slimseq.compression.prepare import prepare
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.tune_beams import BeamOptions, tune_beams
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.prepared_store import prepared
from tests.compression.tiny import tiny_dev, tiny_file
from tests.measured import amend

TASK = Task.TRANSLATION


def test_only_the_number_of_beams_changes(context: Context) -> None:
    before = context.store.manifest(TASK, "original")

    manifest = tune_beams(context, TASK, "original", "two", BeamOptions(num_beams=2)).manifest

    assert manifest.generation == before.generation.model_copy(update={"num_beams": 2})
    assert manifest.lineage[-1].technique == "tune-beams"
    assert manifest.lineage[-1].parent == before.digest
    folders = [context.store.folder(TASK, name) for name in ("original", "two")]
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    assert json.loads((folders[1] / "generation_config.json").read_text())["num_beams"] == 2
    context.store.verify(TASK, "two")


def test_the_fewest_beams_that_keep_the_quality_are_found_on_dev_data(embedded: Store, tmp_path: Path) -> None:
    context = Context(Store(tmp_path / "store"))
    shutil.copytree(embedded.folder(TASK, "quantized"), context.store.folder(TASK, "quantized"))
    dev = tmp_path / "dev.jsonl"
    pairs = load_examples(TASK, "sample").examples[:MIN_PAIRS]
    dev.write_text("".join(json.dumps({"source": pair.source, "target": pair.target}) + "\n" for pair in pairs))
    files = DataFiles([], dev=[str(dev)])

    careful = tune_beams(context, TASK, "quantized", "careful", BeamOptions(tolerance=0.0), files).manifest
    careless = tune_beams(context, TASK, "quantized", "careless", BeamOptions(tolerance=0.9), files).manifest

    for manifest, least in ((careful, 1.0), (careless, 0.1)):
        found = manifest.lineage[-1].parameters
        kept = {int(beams): share for beams, share in found["kept"].items()}
        assert list(kept) == [1, 2, 3, 4]
        assert kept[4] == 1.0
        low, high = found["kept_interval"]["1"]
        assert low < kept[1] < high
        assert all(0 < share < 1.5 for share in kept.values())
        enough = [beams for beams, share in kept.items() if share >= least]
        assert manifest.generation.num_beams == min(enough)
        assert found["num_beams"] == min(enough)
        assert found["dev"] == ["dev.jsonl"]
    assert careless.generation.num_beams == 1


def test_a_variant_with_a_score_of_zero_keeps_its_beams(context: Context, tmp_path: Path) -> None:
    """A random model writes nothing that a metric counts, with however many beams."""
    options, files = BeamOptions(samples=MIN_PAIRS), DataFiles([], dev=[tiny_dev(tmp_path)])

    manifest = tune_beams(context, TASK, "original", "same", options, files).manifest

    assert manifest.generation.num_beams == context.store.manifest(TASK, "original").generation.num_beams


def test_a_choice_needs_enough_pairs_which_the_variant_has_not_seen(context: Context, tmp_path: Path) -> None:
    two = tmp_path / "dev.jsonl"
    two.write_text("".join(Path(tiny_dev(tmp_path)).read_text().splitlines(keepends=True)[:2]))
    small = Job(context, TASK, "original", "trained", DataFiles([tiny_file(tmp_path)]))
    distill(small, DistillOptions(), StudentTraining(bounds=Bounds(max_steps=1)))

    with pytest.raises(
        BadData, match=r"dev.jsonl: 2 pairs are too few to choose the number of beams: with fewer than 30"
    ):
        tune_beams(context, TASK, "original", "fewer", BeamOptions(), DataFiles([], dev=[str(two)]))
    with pytest.raises(BadData, match=r"translation/trained was trained on train.jsonl \(distill\)"):
        tune_beams(context, TASK, "trained", "fewer", BeamOptions(), DataFiles([], dev=[tiny_file(tmp_path)]))
    assert "fewer" not in context.store.variants(TASK)


def test_measurements_with_other_beams_are_not_copied(tmp_path: Path) -> None:
    context = replace(prepared(tmp_path, measure=True), may_replace=True)
    measured = context.store.manifest(TASK, "quantized")
    assert measured.quality

    tune_beams(context, TASK, "quantized", "quantized", BeamOptions(num_beams=3))

    assert context.store.manifest(TASK, "quantized").quality == []


def test_a_manifest_without_files_says_how_many_beams_also_after_an_interruption(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantize(context, TASK, "original", "compact.1", QuantizeOptions(scheme="ctranslate2-int8"))
    made = tune_beams(context, TASK, "compact.1", "compact", BeamOptions(num_beams=2)).manifest
    shutil.rmtree(context.store.folder(TASK, "compact.1"))
    folder = context.store.folder(TASK, "compact")
    before = (folder / "manifest.json").read_bytes()
    shutil.rmtree(folder / "ctranslate2")
    (folder / "generation_config.json").unlink()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("slimseq.compression.prepare.tune_beams", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(context, measure=False)
    assert (folder / "manifest.json").read_bytes() == before

    prepare(context, measure=False)

    assert context.store.manifest(TASK, "compact").digest == made.digest
    assert (folder / "manifest.json").read_bytes() == before
    context.store.verify(TASK, "compact")


def test_a_variant_that_samples_has_no_beams(context: Context) -> None:
    amend(context.store, "original", generation=GenerationDefaults(num_beams=1, do_sample=True))

    with pytest.raises(BadParameters, match="draws its tokens"):
        tune_beams(context, TASK, "original", "fewer", BeamOptions(num_beams=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (BeamOptions(num_beams=0), "the beams are 0"),
        (BeamOptions(num_beams=17), "the beams are 17"),
        (BeamOptions(tolerance=1.0), "the tolerance is 1"),
        (BeamOptions(samples=29), "--samples 29 is too few to measure on: take at least 30"),
        (BeamOptions(), "measured on dev data: give --dev"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(context: Context, options: BeamOptions, words: str) -> None:
    with pytest.raises(BadParameters, match=words):
        tune_beams(context, TASK, "original", "fewer", options)
    assert "fewer" not in context.store.variants(TASK)
