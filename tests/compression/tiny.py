"""Tiny models, tokenizers, data and artifacts of either family: real in every part, and made once a process."""

import functools
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from slimseq.compression.artifacts.publish import Identity, copy_tokenizer, publish_model, write_model
from slimseq.compression.context import Context
from slimseq.compression.from_nothing.new_model import NewModelOptions, make_model
from slimseq.compression.from_nothing.tokenizer_maker import make_tokenizer, texts_of, tokenizer_size
from slimseq.compression.importing.importing import ImportOptions, import_model
from slimseq.compression.train.data.training_data import Limits, TrainingSet
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Manifest, Step, Task
from slimseq.models_store.store import Store
from tests.families import Family


def _pairs(name: str) -> tuple[tuple[str, ...], ...]:
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return tuple(tuple(line.split("\t")) for line in lines)


SENTENCES = _pairs("sentences.tsv")
HELD_OUT = _pairs("held_out.tsv")
EXAMPLES = [Example(source, target) for source, target in SENTENCES]
LIMITS = Limits(max_input_tokens=48, max_target_tokens=48)
VOCABULARY = 320
PREFIX = "translate: "
ARCHITECTURE = NewModelOptions(
    Family.T5, width=32, encoder_layers=2, decoder_layers=2, heads=4, feed_forward=64, positions=64
)


# What tests get copies of.
MADE = tempfile.TemporaryDirectory(prefix="slimseq-tiny-")


@functools.cache
def _tokenizer(family: Family) -> Path:
    folder = Path(MADE.name, f"{family}-tokenizer")
    make_tokenizer(family, texts_of(EXAMPLES, PREFIX), VOCABULARY, folder, max_tokens=64, sentinels=4)
    return folder


@functools.cache
def _artifact(family: Family) -> Path:
    store, tokenizer = Store(Path(MADE.name, family)), _tokenizer(family)
    identity = Identity(
        task=Task.TRANSLATION,
        variant="original",
        family=family,
        languages=["en", "de"],
        license="Apache-2.0",
        training_data="none",
        description="Random weights.",
        generation=GenerationDefaults(prefix=PREFIX, max_input_tokens=48, max_new_tokens=47),
        lineage=[Step(technique="import")],
    )
    publish_model(store, tiny_model(family, tokenizer), tokenizer, identity)
    return store.folder(Task.TRANSLATION, "original")


def tiny_tokenizer(family: Family, folder: Path) -> Path:
    """Writes a tokenizer made from the sentences and returns its folder."""
    return Path(shutil.copytree(_tokenizer(family), folder, dirs_exist_ok=True))


def tiny_model(family: Family, tokenizer_folder: Path, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Makes a random model; `changes` are fields of `NewModelOptions`."""
    return make_model(replace(ARCHITECTURE, family=family, **changes), tokenizer_size(tokenizer_folder), seed)


def tiny_set(tokenizer_folder: Path, repeat: int = 1) -> TrainingSet:
    """Returns the sentences as a training set."""
    return TrainingSet(EXAMPLES * repeat, Tokenizer(tokenizer_folder), PREFIX, LIMITS)


def tiny_context(folder: Path, seed: int = 0, **state: Any) -> Context:
    """Returns a context whose store is in a folder."""
    return Context(store=Store(folder / "store"), seed=seed, **state)


def tiny_file(folder: Path) -> str:
    """Writes the sentences as JSON lines and returns the file's name."""
    path = folder / "train.jsonl"
    rows = (json.dumps({"source": source, "target": target}) for source, target in SENTENCES)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


def tiny_dev(folder: Path, name: str = "dev.jsonl") -> str:
    """Writes sentences that are not in `tiny_file`, enough to choose by, and returns the file's name."""
    path = folder / name
    rows = (json.dumps({"source": source, "target": target}) for source, target in HELD_OUT)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


def tiny_artifact(context: Context, family: Family) -> Manifest:
    """Publishes a random model as `translation/original`."""
    with context.store.writing(Task.TRANSLATION, "original") as folder:
        shutil.copytree(_artifact(family), folder, dirs_exist_ok=True)
    return context.store.manifest(Task.TRANSLATION, "original")


def tiny_store(folder: Path, family: Family = Family.BART, seed: int = 0) -> Context:
    """Returns a context whose store, in a folder, has a random model as `translation/original`."""
    context = tiny_context(folder, seed)
    tiny_artifact(context, family)
    return context


def tiny_import(folder: Path, source: Path, task: Task = Task.TRANSLATION, **options: Any) -> Context:
    """Returns a context whose store, in a folder, has what is imported from a model folder as `original`."""
    context = tiny_context(folder)
    import_model(context, str(source), ImportOptions(task, **({"export": False} | options)))
    return context


def tiny_model_folder(family: Family, folder: Path, seed: int = 0) -> Path:
    """Writes a random model as a hub has it: configuration, safetensors and tokenizer; returns its folder."""
    write_model(tiny_model(family, _tokenizer(family), seed), folder)
    copy_tokenizer(_tokenizer(family), folder)
    return folder
