"""Trains a base model: from nothing but text files, or further from an artifact or a model folder."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.models import load_model
from slimseq.compression.outcome import Outcome, step_of, training_parameters
from slimseq.compression.publish import Identity, check_name, derived, publish_model
from slimseq.compression.training import checkpoint
from slimseq.compression.training.data import DataFiles, limits_of, read_examples, read_material
from slimseq.compression.training.distributed import Processes
from slimseq.compression.training.forward import dev_loss
from slimseq.compression.training.report import too_short
from slimseq.compression.training.scratch import Architecture, make_model
from slimseq.compression.training.tokenizer_maker import make_tokenizer, texts_of, tokenizer_size
from slimseq.compression.training.trainer import TrainingOptions, train
from slimseq.inference.models.configuration import family_of, read_configuration, read_json
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Family, GenerationDefaults, Manifest, Task, first_error
from slimseq.models_store.store import MANIFEST, read_manifest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}


@dataclass(frozen=True)
class BaseOptions:
    """What the new artifact is, where nothing that it starts from tells.

    Args:
        languages: codes; None takes the task's usual ones.
        license: of the weights.
        training_data: what the card says of the data; empty names the files.
        description: one sentence for the card.
        prefix: text before every input that brings none of its own.
        num_beams: default beams.
        no_repeat_ngram_size: default size of n-grams that may occur only once.
        length_penalty: default exponent of the length that a hypothesis' score is divided by; below 1 shortens.
        max_new_tokens: default length limit of outputs, also where targets are cut.
        max_input_tokens: where sources are cut.
        vocabulary: pieces of a new tokenizer at most.
    """

    languages: list[str] | None = None
    license: str = "unknown"
    training_data: str = ""
    description: str = ""
    prefix: str = ""
    num_beams: int = 4
    no_repeat_ngram_size: int = 0
    length_penalty: float = 1.0
    max_new_tokens: int = 128
    max_input_tokens: int = 512
    vocabulary: int = 8000

    def generation(self) -> GenerationDefaults:
        """Returns the artifact's generation defaults.

        Raises:
            BadParameters: one is out of range.
        """
        names = GenerationDefaults.model_fields.keys() & vars(self).keys()
        try:
            return GenerationDefaults(**{name: getattr(self, name) for name in names})
        except ValidationError as error:
            raise BadParameters(first_error(error, "generation")) from error


@dataclass(frozen=True)
class _Beginning:
    """A model before this training, and what is known of it. `manifest` is None where it has none."""

    model: "PreTrainedModel"
    folder: Path
    family: Family
    generation: GenerationDefaults
    manifest: Manifest | None
    parameters: dict[str, Any]


def train_base(
    context: Context,
    task: Task,
    name: str,
    options: BaseOptions,
    files: DataFiles,
    training: TrainingOptions,
    start: str | Architecture,
    checkpoint_folder: Path | None = None,
) -> Outcome:
    """Trains a base model and publishes it.

    Args:
        context: store, seed and device.
        task: what it is trained for.
        name: what to call the result.
        options: what the artifact is.
        files: training and dev data; a new tokenizer is made from the training data.
        training: how to train.
        start: an architecture to start from nothing; a variant of the task in the store or a model folder to go on.
        checkpoint_folder: where training (and a new tokenizer) is kept and resumed from; its checkpoint is removed once
            the artifact is published, its loss log stays.

    Returns:
        The artifact and the report of its training.

    Raises:
        BadData: a file cannot be used.
        BadParameters: options don't fit.
        BadSource, UnknownVariant, InvalidArtifact, CorruptArtifact: what to go on from cannot be opened.
        TrainingDiverged: training failed; nothing is published.
    """
    started = time.monotonic()
    check_name(context, task, name)
    training.check()
    if files.unlabelled:
        raise BadParameters("unlabelled data has no targets, and `train` has no teacher to write them")
    with _folder(checkpoint_folder) as scratch:
        if isinstance(start, Architecture):
            # One process makes the tokenizer, and the others find it.
            processes = Processes.launched(context.device) if training.distributed else Processes()
            with processes.main_first():
                beginning = _from_nothing(context, task, options, files, start, scratch)
        else:
            beginning = _further(context, task, start, options)
        tokenizer = Tokenizer(beginning.folder)
        positions = getattr(beginning.model.config, "max_position_embeddings", None)
        limits = limits_of(beginning.generation, positions if beginning.family is Family.BART else None)
        with context.working(f"Reading {files.names}"):
            material = read_material(
                task,
                files,
                tokenizer,
                beginning.generation.prefix,
                limits,
                context.seed,
                is_read_whole=not training.bounds.is_over_at_once,
            )
        has_parent = beginning.manifest is not None
        parent_dev_loss = (
            dev_loss(beginning.model, material.dev, context, training.precision)
            if material.dev and has_parent
            else None
        )
        report = train(
            beginning.model, material.train, training, context, checkpoint_folder=checkpoint_folder, dev=material.dev
        )
        parameters = beginning.parameters | training_parameters(report, training, files, has_teacher=False)
        parent = beginning.manifest.digest if beginning.manifest else None
        step = step_of(context, "train", parameters, parent, started)
        if beginning.manifest is not None:
            identity = derived(
                beginning.manifest,
                name,
                options.description or f"{beginning.manifest.variant}, trained further.",
                step,
            )
        else:
            identity = Identity(
                task=task,
                variant=name,
                family=beginning.family,
                languages=options.languages or LANGUAGES[task],
                license=options.license,
                training_data=options.training_data or ", ".join(parameters["data"]),
                description=options.description or f"A {beginning.family} trained by `compression train`.",
                generation=beginning.generation,
                lineage=[step],
            )
        manifest = publish_model(context.store, beginning.model, beginning.folder, identity)
        add_onnx(context, manifest.task, manifest.variant)
    if checkpoint_folder is not None:
        checkpoint.discard(checkpoint_folder)
    return Outcome(manifest, report, parent_dev_loss, remark=too_short(report, training))


def _from_nothing(
    context: Context, task: Task, options: BaseOptions, files: DataFiles, architecture: Architecture, scratch: Path
) -> _Beginning:
    architecture.check()
    generation = options.generation()
    if architecture.family is Family.BART:
        longest = architecture.positions
        generation = generation.model_copy(
            update={
                "max_input_tokens": min(generation.max_input_tokens, longest),
                "max_new_tokens": min(generation.max_new_tokens, longest - 1),
            }
        )
    folder = scratch / "tokenizer"
    # A resumed run goes on with the tokenizer that it began with.
    if not (folder / "tokenizer_config.json").exists():
        with context.working(f"Making a tokenizer from {files.names}"):
            texts = texts_of(read_examples(task, files.train), generation.prefix)
            make_tokenizer(architecture.family, texts, options.vocabulary, folder, generation.max_input_tokens)
    model = make_model(architecture, tokenizer_size(folder), context.seed)
    parameters = {"from": "nothing", **asdict(architecture), "vocabulary": model.config.vocab_size}
    return _Beginning(model, folder, architecture.family, generation, None, parameters)


def _further(context: Context, task: Task, start: str, options: BaseOptions) -> _Beginning:
    folder = Path(start)
    if folder.is_dir() and (folder / "config.json").exists():
        manifest = read_manifest(folder) if (folder / MANIFEST).exists() else None
    elif "/" in start:
        raise BadSource(f"{start} is no model folder")
    else:
        context.store.verify(task, start, only="safetensors")
        folder, manifest = context.store.folder(task, start), context.store.manifest(task, start)
    if manifest is not None and manifest.task is not task:
        raise BadParameters(f"{start} is for {manifest.task}, not for {task}")
    family = family_of(folder)
    model_type = read_json(folder / "config.json")["model_type"]
    if manifest is None and model_type in ("mbart", "marian"):
        raise BadParameters(f"{start} is {model_type} as a hub has it: `import` it first, which sets its languages")
    model = load_model(folder, context.device)
    generation = manifest.generation if manifest else options.generation()
    positions = read_configuration(folder).max_positions
    if positions is not None:
        generation = generation.model_copy(
            update={
                "max_input_tokens": min(generation.max_input_tokens, positions),
                "max_new_tokens": min(generation.max_new_tokens, positions - 1),
            }
        )
    return _Beginning(model, folder, family, generation, manifest, {"from": folder.name})


@contextmanager
def _folder(checkpoint_folder: Path | None) -> Iterator[Path]:
    if checkpoint_folder is not None:
        checkpoint_folder.mkdir(parents=True, exist_ok=True)
        yield checkpoint_folder
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
