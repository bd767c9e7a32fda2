"""`train`: trains a base model, either a new one from text files alone, or further from an artifact or a model folder.

`from_nothing` makes the new model and its tokenizer, `train.trainer` has the loop. In a recipe:

    - train: {family: t5, width: 256, vocabulary: 8000, epochs: 6, learning_rate: 1.0e-3}
"""

import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import ValidationError

from slimseq.compression.artifacts.outcome import Outcome, step_of, training_parameters
from slimseq.compression.artifacts.publish import Identity, check_name, derived, publish_model
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.from_nothing.beginning import make_beginning
from slimseq.compression.from_nothing.new_model import NewModelOptions
from slimseq.compression.models import family_of_model, load_model
from slimseq.compression.options import ARTIFACT, TRAINING, flat
from slimseq.compression.technique import Job, Technique
from slimseq.compression.train.data.training_data import limits_of, read_material, warn_of_languages
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.inference.models.configuration import (
    TOKENIZER_CONFIG,
    family_of,
    longest_input,
    read_config,
    read_configuration,
    read_json,
)
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import MANIFEST, read_manifest
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.model_folder import check_model_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Languages of a new model if --language names none.
LANGUAGES = {Task.SUMMARIZATION: ["en"], Task.TRANSLATION: ["en", "de"]}


@flat(ARTIFACT)
@dataclass(frozen=True)
class BaseOptions:
    """What the new artifact is, where the model that it starts from does not say."""

    languages: Annotated[list[str] | None, Parameter(name="--language")] = None
    """Language code. Repeatable. By default the task's usual languages."""
    license: str = "unknown"
    """License of the weights."""
    training_data: str = ""
    """What the model card says of the training data. By default the names of the files."""
    description: str = ""
    """One sentence for the model card."""
    prefix: str = ""
    """Text before every input that has no prefix of its own."""
    num_beams: int = 4
    """Number of beams for beam search. 1 means no beam search."""
    no_repeat_ngram_size: int = 0
    """All n-grams of this size can occur only once. 0 turns it off."""
    length_penalty: float = 1.0
    """Exponential penalty to the length, used with beam search. Above 0 promotes longer sequences, below 0 shorter
    ones."""
    max_new_tokens: int = 128
    """Maximum number of tokens to generate. Targets are truncated there too."""
    max_input_tokens: int = 512
    """Maximum number of input tokens. Sources are truncated there."""
    vocabulary: int = 8000
    """Maximum number of tokens of a new tokenizer."""

    def generation(self) -> GenerationDefaults:
        names = GenerationDefaults.model_fields.keys() & vars(self).keys()
        try:
            return GenerationDefaults(**{name: getattr(self, name) for name in names})
        except ValidationError as error:
            raise BadParameters(first_error(error, "generation")) from error


@flat(TRAINING)
@dataclass(frozen=True)
class BaseTraining(TrainingOptions):
    """How to train a base model: there is no teacher."""

    learning_rate: float = 9e-4
    warmup_steps: int = 600
    tokens_per_batch: int = 1800


@dataclass(frozen=True)
class _Start:
    """The model that the training starts from.

    `folder` has its tokenizer. `manifest` is None for a new model, and for a model folder that is no artifact.
    `parameters` describe the start in the lineage.
    """

    model: "PreTrainedModel"
    folder: Path
    generation: GenerationDefaults
    manifest: Manifest | None
    parameters: dict[str, Any]


def train_base(job: Job, options: BaseOptions, new: NewModelOptions, training: TrainingOptions) -> Outcome:
    """Trains a base model and publishes it.

    Args:
        job: training and dev data; `parent` is a variant in the store or a model folder to go on from, or empty to
            start from nothing, with a new tokenizer that is made from the training data.
        options: what the artifact is.
        new: the architecture to start from nothing.
        training: how to train.

    Returns:
        The artifact and the report of its training.

    Raises:
        BadData: a file cannot be used.
        BadParameters: options don't fit.
        BadSource, UnknownVariant, InvalidArtifact, CorruptArtifact: what to go on from cannot be opened.
        TrainingDiverged: training failed; nothing is published.
    """
    from slimseq.compression.train.trainer import train

    started = time.monotonic()
    context, task, files = job.context, job.task, job.files
    check_name(context, task, job.name)
    training.check()
    if files.unlabelled:
        raise BadParameters("unlabelled data has no targets, and `train` has no teacher to write them")
    with nullcontext(job.checkpoint) if job.checkpoint is not None else TemporaryDirectory() as scratch:
        start = _start_further(job, options) if job.parent else _start_from_nothing(job, options, new, Path(scratch))
        model, generation, parent = start.model, start.generation, start.manifest
        family = family_of_model(model)
        limits = limits_of(generation, family.max_positions(model.config.to_dict()))
        # A training without steps needs only the first rows of the data.
        is_read_whole = not training.bounds.is_over_at_once
        with context.working(f"Reading {files.names}"):
            tokenizer, prefix = Tokenizer(start.folder), generation.prefix
            material = read_material(context, task, files, tokenizer, prefix, limits, is_read_whole=is_read_whole)
        if not generation.language_tokens:
            warn_of_languages(context, material, parent.languages if parent else options.languages or LANGUAGES[task])
        report = train(
            model,
            material.train,
            training,
            context,
            checkpoint_folder=job.checkpoint,
            dev=material.dev,
            pause_at=job.pause_at,
        )
        parameters = start.parameters | training_parameters(report, training, files, has_teacher=False)
        step = step_of(context, "train", parameters, parent.digest if parent else None, started)
        if parent is not None:
            description = options.description or f"{parent.variant}, trained further."
            identity = derived(parent, job.name, description, step)
        else:
            identity = Identity(
                task=task,
                variant=job.name,
                family=family.artifact_family,
                languages=options.languages or LANGUAGES[task],
                license=options.license,
                training_data=options.training_data or ", ".join(parameters["data"]),
                description=options.description or f"A {family.model_type} trained by `slimseq train`.",
                generation=generation,
                lineage=[step],
            )
        manifest = publish_model(context.store, model, start.folder, identity)
        add_onnx(context, manifest.task, manifest.variant)
    # The parent is the same model before this training.
    parent_dev_loss = report.dev_loss_before if parent is not None else None
    return Outcome(manifest, report, parent_dev_loss, remark=report.remark(training))


def _start_from_nothing(job: Job, options: BaseOptions, new: NewModelOptions, scratch: Path) -> _Start:
    """Makes a new model and, from the training data, its tokenizer."""
    new.check()
    generation = _within(new.model_family.max_positions(new.configuration(0)), options.generation())
    student, manifest = _opened(job, new.begin_with) if new.begin_with else (None, None)
    folder = scratch / "tokenizer"
    model = make_beginning(job, new, options.vocabulary, generation, student, folder)
    parameters = {"from": "nothing", **asdict(new), "vocabulary": model.config.vocab_size}
    if student is not None:
        parameters["begin_with"] = f"{manifest.variant} {manifest.digest}" if manifest else student.name
    return _Start(model, folder, generation, None, parameters)


def _start_further(job: Job, options: BaseOptions) -> _Start:
    """Opens the variant or model folder to train further."""
    name = job.parent
    folder, manifest = _opened(job, name)
    if manifest is not None and manifest.task is not job.task:
        raise BadParameters(f"{name} is for {manifest.task}, not for {job.task}")
    family = family_of(folder)
    if manifest is None and (family.language_token or family.target_token):
        raise BadParameters(
            f"{name} is {family.model_type} as a hub has it: `import` it first, which sets its languages"
        )
    model = load_model(folder, job.context.device)
    positions = read_configuration(folder).max_positions
    generation = _within(positions, manifest.generation if manifest else options.generation())
    if manifest is None:
        longest, reason = longest_input(read_config(folder), read_json(folder / TOKENIZER_CONFIG, {}))
        if longest is not None and generation.max_input_tokens < longest:
            job.context.say(
                f"Inputs are read up to {generation.max_input_tokens:,} tokens (--max-input-tokens). The model is for "
                f"inputs of {longest:,} tokens, {reason}."
            )
    return _Start(model, folder, generation, manifest, {"from": folder.name})


def _opened(job: Job, name: str) -> tuple[Path, Manifest | None]:
    """Returns the folder that a name means, and its manifest if it has one.

    The name is the path of a model folder, or a variant in the store, which is verified.
    """
    folder, store = Path(name), job.context.store
    if folder.is_dir() and (folder / "config.json").exists():
        check_model_folder(folder)
        return folder, read_manifest(folder) if (folder / MANIFEST).exists() else None
    if "/" in name:
        raise BadSource(f"{name} is no model folder")
    store.verify(job.task, name, only="safetensors")
    return store.folder(job.task, name), store.manifest(job.task, name)


def _within(positions: int | None, generation: GenerationDefaults) -> GenerationDefaults:
    """Returns generation defaults with the maximum lengths that a model's positions allow."""
    if positions is None:
        return generation
    # The decoder's start token takes a position.
    limits = {
        "max_input_tokens": min(generation.max_input_tokens, positions),
        "max_new_tokens": min(generation.max_new_tokens, positions - 1),
    }
    return generation.model_copy(update=limits)


TECHNIQUE = Technique(
    "train", train_base, [BaseOptions, NewModelOptions, BaseTraining], needs_data=True, uses_dev=True, requires="torch"
)
