from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from slimseq.compression.artifacts.publish import copy_tokenizer, write_model
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.compression.train.forward import precision_on
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.train import BaseOptions, train_base
from slimseq.compression.train.trainer import TrainingOptions
from slimseq.models_store.errors import BadSource, UnknownVariant
from slimseq.models_store.files import read_manifest
from slimseq.models_store.manifest import Reference, Task
from tests.compression.tiny import (
    ARCHITECTURE,
    PREFIX,
    tiny_artifact,
    tiny_context,
    tiny_file,
    tiny_model,
    tiny_tokenizer,
)
from tests.families import Family

OPTIONS = BaseOptions(prefix=PREFIX, max_input_tokens=48, max_new_tokens=40, vocabulary=320)
TRAINING = TrainingOptions(bounds=Bounds(max_steps=5), learning_rate=3e-3, tokens_per_batch=200)


@pytest.mark.parametrize("family", list(Family))
def test_a_model_is_trained_from_a_text_file(tmp_path: Path, family: Family) -> None:
    context = tiny_context(tmp_path, seed=3)
    architecture = replace(ARCHITECTURE, family=family)

    outcome = train_base(
        context, Task.TRANSLATION, "original", OPTIONS, DataFiles([tiny_file(tmp_path)]), TRAINING, architecture
    )
    folder = context.store.folder(Task.TRANSLATION, "original")
    context.store.verify(Task.TRANSLATION, "original")
    manifest = outcome.manifest

    assert (manifest.family, manifest.languages, manifest.training_data) == (family, ["en", "de"], "train.jsonl")
    assert (manifest.generation.prefix, manifest.generation.max_input_tokens) == (PREFIX, 48)
    assert [(step.technique, step.seed, step.parent) for step in manifest.lineage] == [("train", 3, None)]
    assert manifest.lineage[0].parameters["width"] == 32
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The cat sleeps.", return_tensors="pt")["input_ids"]
    assert model.generate(ids, max_new_tokens=5, num_beams=2).shape[0] == 1


def test_a_bart_is_limited_to_its_positions(tmp_path: Path) -> None:
    architecture = replace(ARCHITECTURE, family=Family.BART, positions=32)
    options = replace(OPTIONS, max_input_tokens=512, max_new_tokens=128)

    outcome = train_base(
        tiny_context(tmp_path),
        Task.TRANSLATION,
        "original",
        options,
        DataFiles([tiny_file(tmp_path)]),
        TRAINING,
        architecture,
    )

    assert outcome.manifest.generation.max_input_tokens == 32
    assert outcome.manifest.generation.max_new_tokens == 31


def test_a_variant_is_trained_further_and_its_lineage_says_so(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    parent = tiny_artifact(context, Family.T5, tmp_path)
    file = tiny_file(tmp_path)

    outcome = train_base(
        context, Task.TRANSLATION, "longer", OPTIONS, DataFiles([file], dev=[file]), TRAINING, "original"
    )

    assert [step.technique for step in outcome.manifest.lineage] == ["import", "train"]
    assert outcome.manifest.parent == parent.digest
    assert outcome.manifest.generation == parent.generation
    assert outcome.report is not None
    assert outcome.parent_dev_loss == outcome.report.dev_loss_before
    used = precision_on("cpu", "auto")
    assert TRAINING.precision == "auto" and outcome.manifest.lineage[-1].parameters["precision"] == used
    assert any(line.endswith(f", {used}") for line in outcome.lines())


def test_a_base_model_that_is_trained_further_is_a_new_base_model(tmp_path: Path) -> None:
    context = tiny_context(tmp_path)
    parent = tiny_artifact(context, Family.T5, tmp_path)
    files = DataFiles([tiny_file(tmp_path)])

    tuned = train_base(context, Task.TRANSLATION, "tuned", OPTIONS, files, TRAINING, "original").manifest
    int8 = quantize(context, Task.TRANSLATION, "tuned", "tuned-int8")

    assert parent.reference == Reference(variant="original", digest=parent.digest)
    assert tuned.reference == int8.reference == Reference(variant="tuned", digest=tuned.digest)


def test_a_folder_without_manifest_is_trained_further(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path / "tokenizer")
    write_model(tiny_model(Family.BART, tokenizer), tmp_path / "model")
    copy_tokenizer(tokenizer, tmp_path / "model")

    outcome = train_base(
        tiny_context(tmp_path),
        Task.TRANSLATION,
        "original",
        OPTIONS,
        DataFiles([tiny_file(tmp_path)]),
        TRAINING,
        str(tmp_path / "model"),
    )

    assert outcome.manifest.lineage[-1].parameters["from"] == "model"
    assert outcome.manifest.family == Family.BART


def test_a_start_that_cannot_be_trained_further_is_refused(tmp_path: Path) -> None:
    context, files = tiny_context(tmp_path), DataFiles([tiny_file(tmp_path)])

    with pytest.raises(UnknownVariant, match="nowhere"):
        train_base(context, Task.TRANSLATION, "original", OPTIONS, files, TRAINING, "nowhere")
    with pytest.raises(BadSource, match="no model folder"):
        train_base(context, Task.TRANSLATION, "original", OPTIONS, files, TRAINING, str(tmp_path / "missing"))
    with pytest.raises(BadParameters, match="divisible"):
        train_base(context, Task.TRANSLATION, "original", OPTIONS, files, TRAINING, replace(ARCHITECTURE, heads=5))


def test_a_published_run_keeps_its_loss_log_and_no_checkpoint(tmp_path: Path) -> None:
    context, run = tiny_context(tmp_path), tmp_path / "run"

    train_base(
        context,
        Task.TRANSLATION,
        "original",
        OPTIONS,
        DataFiles([tiny_file(tmp_path)]),
        TRAINING,
        ARCHITECTURE,
        checkpoint_folder=run,
    )

    assert sorted(path.name for path in run.iterdir()) == ["losses.jsonl", "tokenizer"]
    assert read_manifest(context.store.folder(Task.TRANSLATION, "original")).variant == "original"
