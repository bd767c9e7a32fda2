"""`pipeline`: the calls and results of the pipelines that transformers 4 had for summarization and translation.

Texts go to the model whole and as they are, and options have the defaults of transformers 4.57, so that outputs are the
same. `slimseq.inference.load` is the API that knows sentences, numbers and markup. A model that is no artifact is
imported once into a cache, by `slimseq import` in a process of its own: this room does not know the offline side.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pydantic import ValidationError

from slimseq.inference.generator import TextGenerator
from slimseq.inference.load import Model, load
from slimseq.inference.models.configuration import (
    TOKENIZER_CONFIG,
    longest_input,
    read_config,
    read_generation_config,
    read_json,
)
from slimseq.inference.text.language import choose_languages
from slimseq.models_store.errors import BadSource, InvalidOptions
from slimseq.models_store.files import MANIFEST
from slimseq.models_store.generation import MAX_NEW_TOKENS, GenerationOptions
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import Task
from slimseq.models_store.model_folder import check_model_folder
from slimseq.models_store.places import default_store

KEYS = {"summarization": "summary_text", "translation": "translation_text", "text2text-generation": "generated_text"}
PAIR = re.compile(r"translation_(\w{1,35})_to_(\w{1,35})")
CACHE = Path("~/.cache/slimseq")
# Texts of a list that are generated together.
BATCH_SIZE = 32
# Defaults of transformers 4.57: of its pipelines, which win over those of a model, and of `GenerationConfig`.
PIPELINE_DEFAULTS = {"num_beams": 4, "max_new_tokens": 256}
DEFAULT_MAX_LENGTH, DEFAULT_TOP_K = 20, 50
# Stands for no limit of input tokens.
NO_LIMIT = 10**9
ARGUMENTS = {
    *GenerationOptions.model_fields,
    *("max_length", "min_length", "truncation", "src_lang", "tgt_lang", "clean_up_tokenization_spaces", "batch_size"),
}
# Other arguments of transformers' pipelines: the values that change nothing, and what to do in place of others.
OTHERS = {
    "device": ("None -1 cpu", "models run on the CPU"),
    "dtype": ("None auto torch.float32", 'give precision="int8" for a smaller and faster model'),
    "torch_dtype": ("None auto torch.float32", 'give precision="int8" for a smaller and faster model'),
    "tokenizer": ("None", "the tokenizer is always that of the model"),
}
# Spaces that `clean_up_tokenization_spaces` removes.
SPACES = re.compile(r" ([.?!,]|n't|'m|'s|'ve|'re)| (') ")


class Pipeline:
    """An open model with the arguments of its calls. It may be called from any thread; `model.close()` frees it."""

    def __init__(self, task: str, model: Model, folder: Path, arguments: dict[str, Any]) -> None:
        self.task, self.model = task, model
        self._key = KEYS["translation" if PAIR.fullmatch(task) else task]
        self._arguments, self._generating = arguments, Lock()
        config, tokenizer = read_config(folder), read_json(folder / TOKENIZER_CONFIG, {})
        generation = read_generation_config(folder, {})
        self._defaults = PIPELINE_DEFAULTS | {
            name: value for name, value in generation.items() if name not in PIPELINE_DEFAULTS
        }
        if self._defaults.get("max_length", DEFAULT_MAX_LENGTH) != DEFAULT_MAX_LENGTH:
            del self._defaults["max_new_tokens"]
        self._defaults |= config.get("task_specific_params", {}).get(task, {})
        self._prefix = self._defaults.get("prefix", config.get("prefix")) or ""
        self._max_length = longest_input(config, tokenizer)[0] or NO_LIMIT
        # Languages and options are checked before there is a text.
        next(self._generate(iter(()), arguments), None)

    def __call__(self, inputs: str | Iterable[str], **arguments: Any) -> Any:
        """Generates as transformers' pipelines do, with the arguments of `pipeline` or others.

        Returns:
            For a text a list of its outputs, each a `dict`. For a list of texts a list: of the output of each, or with
            `num_return_sequences` of the list of its outputs. For any other iterable, such as a generator or a column
            of a data set, an iterator over the list of each text.

        Raises:
            InvalidOptions: an argument is not supported or out of range, or a text is longer than the model reads.
        """
        given = self._arguments | _checked(arguments)
        if isinstance(inputs, str):
            return next(self._generate(iter([inputs]), given))
        if not isinstance(inputs, list):
            return self._generate(iter(inputs), {"batch_size": 1} | given)
        found = list(self._generate(iter(inputs), given))
        return [own[0] for own in found] if all(len(own) == 1 for own in found) else found

    def _generate(self, texts: Iterator[str], given: dict[str, Any]) -> Iterator[list[dict[str, str]]]:
        generator, prefix, first = self.model.generator, self._prefix, None
        generation = generator.manifest.generation
        if self._key == KEYS["translation"] and generation.source_language_token:
            # mBART, M2M100 and NLLB. None stands for the artifact's own language.
            own = {"src_lang": generation.source_language_token, "tgt_lang": generation.target_language_token}
            source, target = (None if given.get(name) == token else given.get(name) for name, token in own.items())
            generator, prefix = choose_languages(generator, source, target), ""
            first = generator.first_token or generator.tokenizer.id_of(own["tgt_lang"] or "")
        elif self._key == KEYS["translation"] and "prefix" not in self._defaults:
            # T5's own prefixes say what to translate, whatever the artifact's languages are.
            choose_languages(generator, given.get("src_lang"), given.get("tgt_lang"))
        options = self._options(given, generator, first)
        is_cleaned = given.get("clean_up_tokenization_spaces", False)
        # Or a strategy of transformers: a name or a member of its enum.
        is_whole = str(given.get("truncation", False)).lower().endswith(("false", "do_not_truncate"))
        limit = min(NO_LIMIT if is_whole else self._max_length, generator.configuration.max_positions or NO_LIMIT)
        while batch := list(islice(texts, max(given.get("batch_size", BATCH_SIZE), 1))):
            rows = []
            for text in batch:
                if not isinstance(text, str):
                    raise TypeError(f"a text must be a string, not {type(text).__name__}; of a data set give a column")
                encoded = generator.tokenizer.encode(prefix + text, limit)
                if is_whole and encoded.is_truncated:
                    has = f"a text has {encoded.full_length} tokens and the model reads at most {limit}"
                    raise InvalidOptions(f"{has}: give truncation=True, or a shorter text")
                rows.append(encoded.ids)
            found = list[list[dict[str, str]]]([] for _ in batch)
            for draw in range(given.get("num_return_sequences", 1) if options.do_sample else 1):
                seed = None if options.seed is None else options.seed + draw
                with self._generating:
                    sequences = generator.runtime.generate(rows, options.model_copy(update={"seed": seed}))
                for records, best in zip(found, sequences, strict=True):
                    outputs = (generator.tokenizer.decode_exactly(each.ids) for each in (best, *best.alternatives))
                    records += [{self._key: SPACES.sub(r"\1\2", text) if is_cleaned else text} for text in outputs]
            yield from found

    def _options(self, given: dict[str, Any], generator: TextGenerator, first: int | None) -> GenerationOptions:
        chosen = self._defaults | ({"max_new_tokens": None} if "max_length" in given else {}) | given
        for total, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if chosen.get(total) and chosen.get(new) is None:
                chosen[new] = chosen[total] - 1
        if given.keys().isdisjoint(("max_length", "max_new_tokens")):
            positions = generator.configuration.max_positions or MAX_NEW_TOKENS + 1
            chosen["max_new_tokens"] = min(chosen["max_new_tokens"], positions - 1, MAX_NEW_TOKENS)
        if given.keys().isdisjoint(("min_length", "min_new_tokens")):
            chosen["min_new_tokens"] = min(chosen.get("min_new_tokens", 0), chosen["max_new_tokens"])
        if chosen.get("do_sample"):
            # Several outputs are as many draws.
            chosen |= {"num_beams": given.get("num_beams", 1), "num_return_sequences": 1}
            chosen.setdefault("top_k", DEFAULT_TOP_K)
        try:
            options = GenerationOptions(
                **{name: chosen[name] for name in chosen.keys() & GenerationOptions.model_fields}
            )
        except ValidationError as error:
            raise InvalidOptions(first_error(error, whole="")) from error
        generator.check(options)
        return options if first is None else options.beginning_with(first)


def pipeline(
    task: str,
    model: str | Path,
    *,
    precision: Literal["fp32", "int8"] | None = None,
    revision: str | None = None,
    runtime: str | None = None,
    threads: int = 0,
    store: str | Path | None = None,
    cache: str | Path | None = None,
    **arguments: Any,
) -> Pipeline:
    """Opens a model for a task, as `transformers.pipeline` did before version 5.

    Args:
        task: `summarization`, `translation`, `translation_XX_to_YY` or `text2text-generation`.
        model: an artifact's folder or its name in the store; a folder as the hub has it; or a hub id.
        precision: of a model that is imported: `fp32`, or quantized to `int8`.
        revision: branch, tag or commit of a hub id.
        runtime: as of `load`.
        threads: of one generation; 0 lets the runtime choose.
        store: folder of the artifacts. By default `./artifacts`, else the embedded ones.
        cache: store of imported models, by default `~/.cache/slimseq`.
        **arguments: of calls: `batch_size`, `truncation`, `clean_up_tokenization_spaces`, `src_lang`, `tgt_lang`,
            `max_length`, `min_length`, and all fields of `GenerationOptions`.

    Raises:
        InvalidOptions: the task or an argument is not supported.
        BadSource: the model cannot be imported.
        UnsupportedLanguages: it does not translate from XX to YY.
    """
    pair = PAIR.fullmatch(task)
    kind = "translation" if pair else task
    if kind not in KEYS:
        raise InvalidOptions(f"unknown task {task!r}; known are {', '.join(KEYS)} and translation_XX_to_YY")
    if precision not in (None, "fp32", "int8"):
        raise InvalidOptions(f"precision: {precision!r} is neither fp32 nor int8")
    if str(arguments.get("tokenizer")) == str(model):
        del arguments["tokenizer"]
    arguments = ({"src_lang": pair[1], "tgt_lang": pair[2]} if pair else {}) | _checked(arguments)
    places = (Path(), Path(store or default_store()), Path(store or default_store(), kind))
    folder = next((each / model for each in places if (each / model / MANIFEST).is_file()), None)
    if folder is None:
        languages = arguments.get("src_lang"), arguments.get("tgt_lang")
        try:
            folder = _import(str(model), kind, precision, revision, languages, Path(cache or CACHE).expanduser())
        except BadSource as error:
            raise BadSource(f"{places[1]} has no {kind}/{model}, and it cannot be imported: {error}") from None
    elif precision is not None:
        raise InvalidOptions(f"precision: {folder} is an artifact, which has its own; `slimseq quantize` makes another")
    return Pipeline(task, load(folder, runtime=runtime, threads=threads), folder, arguments)


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments that change something. None is as if an argument was left out."""
    for name in arguments.keys() - ARGUMENTS:
        if name not in OTHERS:
            raise InvalidOptions(f"unsupported argument {name!r}; supported are {', '.join(sorted(ARGUMENTS))}")
        neutral, instead = OTHERS[name]
        if str(arguments[name]) not in neutral.split():
            raise InvalidOptions(f"unsupported argument {name}={arguments[name]!r}: {instead}")
    return {name: value for name, value in arguments.items() if name in ARGUMENTS and value is not None}


def _import(
    source: str, kind: str, precision: str | None, revision: str | None, languages: Iterable[Any], cache: Path
) -> Path:
    """Returns the folder of a model in the cache. It is imported again where files of its own folder changed."""
    task = Task.TRANSLATION if kind == "translation" else Task.SUMMARIZATION
    path = Path(source)
    stamps = []
    if path.is_dir():
        check_model_folder(path)
        stamps = [f"{each} {each.stat().st_mtime_ns}" for each in sorted(path.resolve().iterdir()) if each.exists()]
    digest = hashlib.sha256("\n".join(stamps or [source, revision or ""]).encode()).hexdigest()
    name = f"{re.sub('[^a-z0-9]+', '-', path.name.lower())[:40].strip('-')}-{digest[:8]}".lstrip("-")
    folder = cache / task / name
    if not (folder / MANIFEST).is_file():
        options = [f"--language={each}" for each in languages if each and task is Task.TRANSLATION]
        options += [f"--revision={revision}"] if revision else []
        _slimseq("import", source, f"--task={task}", f"--name={name}", f"--store={cache}", *options)
    if precision == "int8":
        folder = folder.with_name(f"{name}-int8")
        if not (folder / MANIFEST).is_file():
            _slimseq("quantize", task, name, f"--name={folder.name}", f"--store={cache}")
    return folder


def _slimseq(*arguments: str) -> None:
    """Runs a verb of the command line. Its progress is passed on, also to a notebook; its last line is the error."""
    command, line = [sys.executable, "-P", "-m", "slimseq", *arguments], ""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            sys.stderr.write(line)
    if process.returncode:
        raise BadSource(f"slimseq {arguments[0]} {arguments[1]}: {line.strip().removeprefix('error: ')}")
