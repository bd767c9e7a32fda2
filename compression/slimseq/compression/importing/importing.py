"""`import`: brings a model from a folder, the hub or Firefox into the store, with its generation defaults.

Only configuration, tokenizer and safetensors files are read. Pickled weights are refused. The modules beside this one
each do one part: they download (`hub`, `firefox_download`), convert Marian's format (`marian_conversion`), check the
tokenizer (`tokenizer_trial`) and find the languages (`model_languages`).
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import ValidationError

from slimseq.compression.artifacts.outcome import step_of
from slimseq.compression.artifacts.publish import Identity, check_name, publish_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_onnx
from slimseq.compression.importing import firefox_download
from slimseq.compression.importing.hub import download
from slimseq.compression.importing.language_tokens import set_language_tokens
from slimseq.compression.importing.marian_conversion import convert_student, is_student
from slimseq.compression.importing.model_languages import ModelLanguages, resolve_languages
from slimseq.compression.importing.tokenizer_trial import make_fast_tokenizer
from slimseq.compression.options import ARTIFACT, COMMON, flat
from slimseq.compression.step_keys import folder_digest, key_of
from slimseq.inference.models.bounds import without_nulls
from slimseq.inference.models.configuration import (
    CONFIG,
    TOKENIZER_CONFIG,
    family_of,
    longest_input,
    read_config,
    read_generation_config,
    read_json,
)
from slimseq.inference.models.pretrained import load_pretrained
from slimseq.inference.models.safetensors_reader import SafetensorsReader, widest_dtype
from slimseq.inference.models.shortlist import SHORTLIST
from slimseq.models_store.errors import BadSource
from slimseq.models_store.generation import MAX_INPUT_TOKENS, MAX_NEW_TOKENS, GenerationDefaults
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.model_folder import check_model_folder

# The parameter of an import's step that has a hash of the model folder.
CONTENT = "content"
# Numbers of tokens for a model whose files name no length.
DEFAULT_NEW_TOKENS, DEFAULT_INPUT_TOKENS = 128, 512


@flat(ARTIFACT)
@dataclass(frozen=True)
class ImportOptions:
    """Name and description of the artifact, and its generation defaults. None takes the value of the model's files."""

    task: Annotated[Task | None, Parameter(group=COMMON)] = None
    """Task of the model. Models of Firefox translate, others need it."""
    variant: Annotated[str, Parameter(name="--name", group=COMMON)] = "original"
    """Name of the new variant."""
    languages: Annotated[list[str] | None, Parameter(name="--language", group=COMMON)] = None
    """Language code. Twice for translation: source, then target."""
    revision: Annotated[str | None, Parameter(group=COMMON)] = None
    """Branch, tag or commit on the hub, or version of a model of Firefox."""
    export: Annotated[bool, Parameter(group=COMMON)] = True
    """Add ONNX files, to serve without PyTorch."""
    shortlist: bool = True
    """Keep the shortlist of a model of Firefox: outputs choose among the tokens that their source may translate to."""
    license: str | None = None
    """License of the weights. By default unknown, except for models of Firefox."""
    training_data: str = "not stated"
    """What the weights were trained on."""
    description: str = ""
    """One sentence for the model card."""
    prefix: str | None = None
    """Text before every input."""
    num_beams: int | None = None
    """Number of beams for beam search. 1 means no beam search."""
    length_penalty: float | None = None
    """Exponential penalty to the length, used with beam search. Above 0 promotes longer sequences, below 0 shorter
    ones."""
    no_repeat_ngram_size: int | None = None
    """All n-grams of this size can occur only once."""
    max_new_tokens: int | None = None
    """Maximum number of tokens to generate."""
    max_input_tokens: int | None = None
    """Maximum number of input tokens. Longer inputs are truncated. By default what the model's configuration says."""


def find_task(source: str, options: ImportOptions) -> Task:
    if options.task is None and not source.startswith(firefox_download.SCHEME):
        raise BadParameters(f"nothing says what {source} is for: give --task with one of {', '.join(Task)}")
    return options.task or Task.TRANSLATION


def import_model(
    context: Context, source: str, options: ImportOptions, check: Callable[[Path], None] | None = None
) -> Manifest:
    """Imports a model from a folder, a hub id or a pair such as `firefox:en-de`, and publishes it as an artifact.

    `check` is called with the folder of the model as soon as the folder has a `config.json`: before weights are
    downloaded, and before anything is written to the store. An error of `check` ends the import.

    Raises:
        BadSource: the source is not there, not allowed, holds no safetensors or is no T5 or BART.
        BadParameters: a generation default is out of range.
    """
    import torch

    started = time.monotonic()
    task = find_task(source, options)
    check_name(context, task, options.variant)
    # The scratch folder is on the disk of the store, so that downloaded weights are moved into the artifact and not
    # copied.
    with (
        context.store.claim(task, options.variant) as work,
        tempfile.TemporaryDirectory(prefix="import-", dir=work) as scratch,
    ):
        fetched = _fetch(context, source, options, Path(scratch), check)
        folder = fetched.folder
        family = family_of(folder)
        parameters = {"source": fetched.name, "revision": fetched.revision, **fetched.origin}
        with context.working(f"Trying the tokenizer of {source}"):
            tokenizer_folder = make_fast_tokenizer(folder, Path(scratch))
        languages = resolve_languages(task, folder, tokenizer_folder, source, options.languages)
        with context.working(f"Loading {source}"):
            # In the dtype of their files, weights stay mapped from them: a model may be larger than the memory.
            model = load_pretrained(folder, getattr(torch, widest_dtype(SafetensorsReader(folder).kinds)))
        for name, value in family.converter_keys().items():
            if not hasattr(model.config, name):
                setattr(model.config, name, value)
        if languages.tokens is not None and not set_language_tokens(model, tokenizer_folder, languages.tokens):
            languages = replace(languages, choices={})
        generation, input_limit_remark = _defaults(folder, task, options, languages)
        context.say(input_limit_remark)
        if languages.remark:
            context.say(languages.remark)
        # An import chooses nothing at random, so its step has no seed.
        step = step_of(context, "import", parameters, None, started).model_copy(update={"seed": None})
        identity = Identity(
            task=task,
            variant=options.variant,
            family=family.artifact_family,
            languages=languages.codes,
            license=fetched.license,
            training_data=options.training_data,
            description=options.description or f"Imported from {fetched.name}.",
            generation=generation,
            lineage=[step],
        )
        with context.working(f"Writing {task}/{options.variant}"):
            manifest = publish_model(
                context.store,
                model,
                tokenizer_folder,
                identity,
                original=folder,
                may_move_original=fetched.is_temporary,
            )
    if options.export:
        add_onnx(context, task, options.variant)
    return manifest


@dataclass(frozen=True)
class _Fetched:
    """A model folder to import, and where it is from.

    `is_temporary` says that the folder is a copy in the scratch folder, whose files may be moved into the artifact.
    `origin` is what the lineage has of it beside its name: what the registry of Firefox says, or the content of a
    folder.
    """

    folder: Path
    name: str
    revision: str | None
    license: str
    is_temporary: bool
    origin: Mapping[str, Any]


def _fetch(
    context: Context, source: str, options: ImportOptions, scratch: Path, check: Callable[[Path], None] | None
) -> _Fetched:
    """Returns the model folder of a source: the user's own, a converted one, or one that was downloaded."""
    license_ = options.license or "unknown"
    if source.startswith(firefox_download.SCHEME):
        folder = scratch / "firefox"
        origin = firefox_download.download(context, source, options.revision, folder).origin()
        license_ = options.license or firefox_download.LICENSE
    elif Path(source).is_dir():
        folder = Path(source)
        origin = {CONTENT: folder_content(folder)}
    else:
        folder = scratch / "hub"
        revision = download(context, source, options.revision, folder, lambda: _check(folder, check))
        check_model_folder(folder)
        return _Fetched(folder, source, revision, license_, is_temporary=True, origin={})
    check_model_folder(folder)
    is_converted = is_student(folder)
    if is_converted:
        converted = scratch / "student" / folder.resolve().name
        with context.working(f"Reading {source}"):
            convert_student(folder, converted)
            if not options.shortlist:
                (converted / SHORTLIST).unlink(missing_ok=True)
        folder = converted
    _check(folder, check)
    return _Fetched(folder, Path(source).name, options.revision, license_, is_temporary=is_converted, origin=origin)


def folder_content(folder: Path) -> str:
    """Returns a hash of all files in a model folder.

    Raises:
        BadSource: a file is refused, such as a link that leaves the folder.
    """
    return key_of("folder", folder_digest(folder))


def _check(folder: Path, check: Callable[[Path], None] | None) -> None:
    """Checks the configuration of a model, before its weights are downloaded or read."""
    if not (folder / CONFIG).is_file():
        raise BadSource(f"{folder} is not a model folder: it has no config.json")
    family_of(folder)
    read_generation_config(folder, read_config(folder))
    if check is not None:
        check(folder)


def _defaults(
    folder: Path, task: Task, options: ImportOptions, languages: ModelLanguages
) -> tuple[GenerationDefaults, str]:
    """Returns all generation settings, each from the options, else from the model's files, else Slimseq's default.

    The second value is a line for the user that says how long inputs may be, and why.
    """
    config = read_config(folder)
    # Configurations of T5 have settings of their own for each task, such as `translation_en_to_de`.
    task_name = task.value if task is Task.SUMMARIZATION else f"translation_{'_to_'.join(languages.codes)}"
    of_task = config.get("task_specific_params", {}).get(task_name, {})
    of_files: dict[str, Any] = config | read_generation_config(folder, {}) | without_nulls(of_task)
    positions = family_of(folder).max_positions(config)
    # The decoder's start token takes the first position.
    output_positions = positions - 1 if positions else None
    _check_length("--max-input-tokens", options.max_input_tokens, positions)
    _check_length("--max-new-tokens", options.max_new_tokens, output_positions)
    max_new_tokens = options.max_new_tokens
    if max_new_tokens is None:
        max_new_tokens = _max_new_tokens_of_files(of_files, output_positions)
    max_input_tokens, input_limit_remark = _input_limit(folder, config, options.max_input_tokens)

    def chosen(option: Any, name: str, default: Any) -> Any:
        """Returns the option if it is given, else the setting of the model's files, else the default."""
        return option if option is not None else of_files.get(name, default)

    prefix = options.prefix if options.prefix is not None else languages.prefix
    try:
        generation = GenerationDefaults(
            prefix=chosen(prefix, "prefix", "") or "",
            num_beams=chosen(options.num_beams, "num_beams", 4),
            length_penalty=chosen(options.length_penalty, "length_penalty", 1.0),
            early_stopping=of_files.get("early_stopping") is True,
            no_repeat_ngram_size=chosen(options.no_repeat_ngram_size, "no_repeat_ngram_size", 0),
            # `min_length` of transformers counts the decoder's start token.
            min_new_tokens=min(max(0, of_files.get("min_length", 0) - 1), max_new_tokens),
            max_new_tokens=max_new_tokens,
            max_input_tokens=max_input_tokens,
            source_language_token=languages.tokens.source if languages.tokens else None,
            target_language_token=languages.tokens.target if languages.tokens else None,
            language_tokens=dict(languages.choices),
        )
    except ValidationError as error:
        raise BadParameters(first_error(error, "generation")) from error
    return generation, input_limit_remark


def _check_length(option: str, requested: int | None, positions: int | None) -> None:
    """Checks a requested number of tokens. None means no request, or a model without a limit of positions."""
    if requested is not None and positions is not None and requested > positions:
        raise BadParameters(f"{option} {requested}: this model has positions for {positions}")


def _max_new_tokens_of_files(of_files: Mapping[str, Any], output_positions: int | None) -> int:
    """Returns the number of tokens to generate that the model's files name, within what can be generated."""
    max_new_tokens: int = DEFAULT_NEW_TOKENS
    if of_files.get("max_new_tokens"):
        max_new_tokens = of_files["max_new_tokens"]
    elif of_files.get("max_length"):
        # `max_length` of transformers counts the decoder's start token.
        max_new_tokens = of_files["max_length"] - 1
    if output_positions is not None:
        max_new_tokens = min(max_new_tokens, output_positions)
    return min(max_new_tokens, MAX_NEW_TOKENS)


def _input_limit(folder: Path, config: Mapping[str, Any], requested: int | None) -> tuple[int, str]:
    """Returns how many tokens of an input are read, and a line for the user that says why."""
    longest, reason = longest_input(config, read_json(folder / TOKENIZER_CONFIG, {}))
    if longest is None:
        known = "The model's files name no length of inputs."
    else:
        known = f"The model is for inputs of {longest:,} tokens, {reason}."
    if requested is not None:
        return requested, f"Inputs are read up to {requested:,} tokens, as given. {known}"
    if longest is None:
        return DEFAULT_INPUT_TOKENS, (
            f"Inputs are read up to {DEFAULT_INPUT_TOKENS} tokens: the model's files name no length. "
            "--max-input-tokens takes another."
        )
    if longest > MAX_INPUT_TOKENS:
        return MAX_INPUT_TOKENS, f"Inputs are read up to {MAX_INPUT_TOKENS:,} tokens, the most that is served. {known}"
    return longest, f"Inputs are read up to {longest:,} tokens, {reason}."
