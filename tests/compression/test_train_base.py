"""`train`: a new model from a text file, or a variant or model folder that is trained further."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from slimseq.compression.artifacts.outcome import Outcome
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.from_nothing.new_model import NewModelOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.technique import Job
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.compression.train.forward import precision_on
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.compression.train_base import TECHNIQUE, BaseOptions
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource, UnknownVariant
from slimseq.models_store.manifest import Reference, Task
from tests.compression.tiny import (
    ARCHITECTURE,
    PREFIX,
    tiny_context,
    tiny_dev,
    tiny_file,
    tiny_model_folder,
    tiny_store,
)
from tests.families import Family

OPTIONS = BaseOptions(prefix=PREFIX, max_input_tokens=48, max_new_tokens=40, vocabulary=320)
TRAINING = TrainingOptions(bounds=Bounds(max_steps=5), learning_rate=3e-3, tokens_per_batch=200)


def trained(
    context: Context,
    start: str = "",
    name: str = "original",
    options: BaseOptions = OPTIONS,
    new: NewModelOptions = ARCHITECTURE,
    dev: str = "",
    checkpoint: Path | None = None,
) -> Outcome:
    files = DataFiles([tiny_file(context.store.root.parent)], dev=[dev] if dev else [])
    job = Job(context, Task.TRANSLATION, start, name, files, checkpoint)
    return TECHNIQUE.apply(job, [options, new, TRAINING])


def test_a_model_is_trained_from_a_text_file(tmp_path: Path) -> None:
    context = tiny_context(tmp_path, seed=3)

    manifest = trained(context).manifest

    context.store.verify(Task.TRANSLATION, "original")
    assert (manifest.family, manifest.languages, manifest.training_data) == ("t5", ["en", "de"], "train.jsonl")
    assert (manifest.generation.prefix, manifest.generation.max_input_tokens) == (PREFIX, 48)
    [step] = manifest.lineage
    assert (step.technique, step.seed, step.parent) == ("train", 3, None)
    assert step.parameters["width"] == 32


def test_transformers_opens_a_model_that_was_trained_from_a_text_file(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    trained(context)
    folder = context.store.folder(Task.TRANSLATION, "original")

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    ids = tokenizer("The cat sleeps.", return_tensors="pt")["input_ids"]

    assert len(model.generate(ids, max_new_tokens=5, num_beams=2)) == 1


def test_a_finished_training_leaves_the_log_of_the_losses_and_no_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"

    trained(tiny_context(tmp_path), checkpoint=run)

    assert sorted(path.name for path in run.iterdir()) == ["losses.jsonl", "tokenizer"]


def test_a_tokenizer_is_made_of_training_texts_alone(tmp_path: Path) -> None:
    context, dev = tiny_context(tmp_path), tmp_path / "dev.jsonl"
    dev.write_text('{"source": "Ωmega Ωmega", "target": "Ωmega Ωmega"}\n' * 50, encoding="utf-8")

    trained(context, dev=str(dev))

    pieces = Tokenizer(context.store.folder(Task.TRANSLATION, "original"))
    assert pieces.id_of("S") is not None
    assert pieces.id_of("Ω") is None


def test_a_bart_is_limited_to_its_positions(tmp_path: Path) -> None:
    new = replace(ARCHITECTURE, family=Family.BART, positions=32)
    options = replace(OPTIONS, max_input_tokens=512, max_new_tokens=128)

    generation = trained(tiny_context(tmp_path), options=options, new=new).manifest.generation

    assert (generation.max_input_tokens, generation.max_new_tokens) == (32, 31)


def test_a_variant_that_is_trained_further_has_the_lineage_and_the_defaults_of_its_parent(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.T5)
    parent = context.store.manifest(Task.TRANSLATION, "original")

    manifest = trained(context, "original", "longer").manifest

    assert [step.technique for step in manifest.lineage] == ["import", "train"]
    assert manifest.parent == parent.digest
    assert manifest.generation == parent.generation


def test_a_variant_that_is_trained_further_is_the_reference_of_what_is_made_from_it(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.T5)

    longer = trained(context, "original", "longer").manifest
    int8 = quantize(context, Task.TRANSLATION, "longer", "longer-int8")

    assert longer.reference == Reference(variant="longer", digest=longer.digest)
    assert int8.reference == longer.reference


def test_the_loss_before_further_training_is_the_loss_of_the_parent(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.T5)

    outcome = trained(context, "original", "longer", dev=tiny_dev(tmp_path))

    assert outcome.report is not None
    assert outcome.parent_dev_loss is not None
    assert outcome.parent_dev_loss == outcome.report.dev_loss_before


def test_the_precision_that_was_used_is_recorded_and_shown(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.T5)
    assert TRAINING.precision == "auto"

    outcome = trained(context, "original", "longer")

    used = precision_on("cpu", "auto")
    assert outcome.manifest.lineage[-1].parameters["precision"] == used
    assert any(line.endswith(f", {used}") for line in outcome.lines())


def test_a_folder_without_manifest_is_trained_further(tmp_path: Path) -> None:
    model = tiny_model_folder(Family.BART, tmp_path / "model")

    manifest = trained(tiny_context(tmp_path), str(model)).manifest

    assert manifest.lineage[-1].parameters["from"] == "model"
    assert manifest.family == Family.BART


def test_a_start_that_is_no_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownVariant, match="nowhere"):
        trained(tiny_context(tmp_path), "nowhere")


def test_a_start_that_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match="no model folder"):
        trained(tiny_context(tmp_path), str(tmp_path / "missing"))


def test_a_new_model_whose_width_its_heads_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameters, match="divisible"):
        trained(tiny_context(tmp_path), new=replace(ARCHITECTURE, heads=5))


def test_a_folder_of_a_variant_of_another_task_is_refused(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    folder = context.store.folder(Task.TRANSLATION, "original")

    job = Job(context, Task.SUMMARIZATION, str(folder), "made", DataFiles([tiny_file(tmp_path)]))

    with pytest.raises(BadParameters, match="is for translation, not for summarization"):
        TECHNIQUE.apply(job, [OPTIONS, ARCHITECTURE, TRAINING])
