"""`pipeline`: the calls and results of the pipelines that transformers 4 had for summarization and translation.

Texts go to the model whole and as they are, and options have the defaults of transformers 4.57, so that outputs are the
same. `slimseq.inference.load` is the API that knows sentences, numbers and markup.

A model that is not an artifact is imported once into a cache. `slimseq import` does it in a process of its own, since
`slimseq.inference` must not import the compression side.
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

# By task: the key of an output's text in a result.
KEYS = {"summarization": "summary_text", "translation": "translation_text", "text2text-generation": "generated_text"}
# The name of a task with its two languages. BCP 47 recommends room for codes of 35 characters.
PAIR = re.compile(r"translation_(\w{1,35})_to_(\w{1,35})")
# The store of imported models.
CACHE = Path("~/.cache/slimseq")
# Texts of a list that are generated together.
BATCH_SIZE = 32
# Defaults of pipelines in transformers 4.57. They win over a model's defaults.
PIPELINE_DEFAULTS = {"num_beams": 4, "max_new_tokens": 256}
# Defaults of `max_length` and `top_k` in the `GenerationConfig` of transformers 4.57.
DEFAULT_MAX_LENGTH, DEFAULT_TOP_K = 20, 50
# Stands for no limit of input tokens.
NO_LIMIT = 10**9
# The arguments of calls that have an effect.
ARGUMENTS = {
    *GenerationOptions.model_fields,
    *("max_length", "min_length", "truncation", "src_lang", "tgt_lang", "clean_up_tokenization_spaces", "batch_size"),
}
# Other arguments of transformers' pipelines: the values that change nothing, separated by spaces, and the advice of the
# error for all other values.
IGNORED_ARGUMENTS = {
    "device": ("None -1 cpu", "models run on the CPU"),
    "dtype": ("None auto torch.float32", 'give precision="int8" for a smaller and faster model'),
    "torch_dtype": ("None auto torch.float32", 'give precision="int8" for a smaller and faster model'),
    "tokenizer": ("None", "the tokenizer is always that of the model"),
}
# Characters of a source's name in the name of an imported model.
MAX_READABLE_NAME = 40
# Spaces that `clean_up_tokenization_spaces` removes. The groups are what stays.
EXTRA_SPACES = re.compile(r" ([.?!,]|n't|'m|'s|'ve|'re)| (') ")


class Pipeline:
    """An open model with the arguments of its calls. It may be called from any thread; `model.close()` frees it."""

    def __init__(self, task: str, model: Model, folder: Path, arguments: dict[str, Any]) -> None:
        self.task = task
        self.model = model
        self._key = KEYS["translation" if PAIR.fullmatch(task) else task]
        self._arguments = arguments
        self._generating = Lock()

        # Later ones win: the model's generation config, the pipelines' defaults, the model's parameters of the task.
        self._defaults = read_generation_config(folder, {}) | PIPELINE_DEFAULTS
        # A model's own `max_length` wins over the pipelines' `max_new_tokens`.
        if self._defaults.get("max_length", DEFAULT_MAX_LENGTH) != DEFAULT_MAX_LENGTH:
            del self._defaults["max_new_tokens"]
        config = read_config(folder)
        self._defaults |= config.get("task_specific_params", {}).get(task, {})
        self._prefix = self._defaults.get("prefix", config.get("prefix")) or ""
        tokenizer_config = read_json(folder / TOKENIZER_CONFIG, {})
        self._max_length = longest_input(config, tokenizer_config)[0] or NO_LIMIT

        # A generation without texts checks languages and options.
        next(self._generate(iter(()), arguments), None)

    def __call__(self, inputs: str | Iterable[str], **arguments: Any) -> Any:
        """Generates as transformers' pipelines do, with the arguments of `pipeline` or others.

        Returns:
            For a text, a list of its outputs, each a `dict`. For a list of texts, a list with the output of each text,
            or with the list of its outputs if `num_return_sequences` is above 1. For any other iterable, such as a
            generator or a column of a data set, an iterator over the list of outputs of each text.

        Raises:
            InvalidOptions: an argument is not supported or out of range, or a text is longer than the model reads.
        """
        call_arguments = self._arguments | _checked(arguments)
        if isinstance(inputs, str):
            return next(self._generate(iter([inputs]), call_arguments))
        if not isinstance(inputs, list):
            return self._generate(iter(inputs), {"batch_size": 1} | call_arguments)
        records_of_texts = list(self._generate(iter(inputs), call_arguments))
        if all(len(records) == 1 for records in records_of_texts):
            return [records[0] for records in records_of_texts]
        return records_of_texts

    def _generate(self, texts: Iterator[str], arguments: dict[str, Any]) -> Iterator[list[dict[str, str]]]:
        """Yields the records of each text, in batches. Arguments are checked before the first text is taken."""
        generator, prefix, first_token = self._for_languages(arguments)
        options = self._options(arguments, generator, first_token)
        removes_spaces = arguments.get("clean_up_tokenization_spaces", False)
        # `truncation` is a boolean, or a strategy of transformers: a name or a member of its enum.
        must_fit = str(arguments.get("truncation", False)).lower().endswith(("false", "do_not_truncate"))
        limit = min(NO_LIMIT if must_fit else self._max_length, generator.configuration.max_positions or NO_LIMIT)
        batch_size = max(arguments.get("batch_size", BATCH_SIZE), 1)
        # Several sampled outputs are as many draws, each with a seed of its own.
        draws = arguments.get("num_return_sequences", 1) if options.do_sample else 1
        while batch := list(islice(texts, batch_size)):
            rows = [_encode(generator, prefix, text, limit, must_fit=must_fit) for text in batch]
            records_of_texts: list[list[dict[str, str]]] = [[] for _ in batch]
            for draw in range(draws):
                seed = None if options.seed is None else options.seed + draw
                with self._generating:
                    sequences = generator.runtime.generate(rows, options.model_copy(update={"seed": seed}))
                for records, best in zip(records_of_texts, sequences, strict=True):
                    for sequence in (best, *best.alternatives):
                        text = generator.tokenizer.decode_exactly(sequence.ids)
                        if removes_spaces:
                            text = EXTRA_SPACES.sub(r"\1\2", text)
                        records.append({self._key: text})
            yield from records_of_texts

    def _for_languages(self, arguments: dict[str, Any]) -> tuple[TextGenerator, str, int | None]:
        """Checks the languages of a call.

        Returns:
            The generator for the languages, the prefix of texts, and the token that outputs begin with. The token is
            None if the model has none for the language.
        """
        generator = self.model.generator
        generation = generator.manifest.generation
        if self._key == KEYS["translation"] and generation.source_language_token:
            # mBART, M2M100 and NLLB. None stands for the artifact's own language.
            source, target = arguments.get("src_lang"), arguments.get("tgt_lang")
            if source == generation.source_language_token:
                source = None
            if target == generation.target_language_token:
                target = None
            chosen = choose_languages(generator, source, target)
            own_first_token = chosen.tokenizer.id_of(generation.target_language_token or "")
            return chosen, "", chosen.first_token or own_first_token
        if self._key == KEYS["translation"] and "prefix" not in self._defaults:
            # This only checks the languages. A T5 model has a prefix, which says what to translate.
            choose_languages(generator, arguments.get("src_lang"), arguments.get("tgt_lang"))
        return generator, self._prefix, None

    def _options(
        self, arguments: dict[str, Any], generator: TextGenerator, first_token: int | None
    ) -> GenerationOptions:
        """Returns the options of a call: its arguments, and else the defaults as transformers combines them."""
        defaults = dict(self._defaults)
        if "max_length" in arguments:
            # A given `max_length` wins over a default `max_new_tokens`.
            defaults["max_new_tokens"] = None
        chosen = defaults | arguments

        # Lengths count the start token, numbers of new tokens do not.
        for length, new_tokens in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
            if chosen.get(length) and chosen.get(new_tokens) is None:
                chosen[new_tokens] = chosen[length] - 1

        # Defaults are cut to what the model allows. The caller's values are not cut: `check` refuses them.
        if arguments.keys().isdisjoint(("max_length", "max_new_tokens")):
            positions = generator.configuration.max_positions or MAX_NEW_TOKENS + 1
            chosen["max_new_tokens"] = min(chosen["max_new_tokens"], positions - 1, MAX_NEW_TOKENS)
        if arguments.keys().isdisjoint(("min_length", "min_new_tokens")):
            chosen["min_new_tokens"] = min(chosen.get("min_new_tokens", 0), chosen["max_new_tokens"])

        if chosen.get("do_sample"):
            # Several outputs are several draws, see `_generate`.
            chosen |= {"num_beams": arguments.get("num_beams", 1), "num_return_sequences": 1}
            chosen.setdefault("top_k", DEFAULT_TOP_K)
        fields = {name: value for name, value in chosen.items() if name in GenerationOptions.model_fields}
        try:
            options = GenerationOptions(**fields)
        except ValidationError as error:
            raise InvalidOptions(first_error(error, whole="")) from error
        generator.check(options)
        return options if first_token is None else options.beginning_with(first_token)


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
        # The tokenizer of the model is used anyway.
        del arguments["tokenizer"]
    arguments = _checked(arguments)
    if pair:
        arguments = {"src_lang": pair[1], "tgt_lang": pair[2]} | arguments

    store_folder = Path(store or default_store())
    places = (Path(), store_folder, store_folder / kind)
    folder = next((each / model for each in places if (each / model / MANIFEST).is_file()), None)
    if folder is None:
        languages = arguments.get("src_lang"), arguments.get("tgt_lang")
        try:
            folder = _import(str(model), kind, precision, revision, languages, Path(cache or CACHE).expanduser())
        except BadSource as error:
            raise BadSource(f"{store_folder} has no {kind}/{model}, and it cannot be imported: {error}") from None
    elif precision is not None:
        raise InvalidOptions(f"precision: {folder} is an artifact, which has its own; `slimseq quantize` makes another")
    return Pipeline(task, load(folder, runtime=runtime, threads=threads), folder, arguments)


def _encode(generator: TextGenerator, prefix: str, text: object, limit: int, *, must_fit: bool) -> list[int]:
    """Encodes a text, truncated to a limit of tokens. If it `must_fit`, a longer one is refused."""
    if not isinstance(text, str):
        raise TypeError(f"a text must be a string, not {type(text).__name__}; of a data set give a column")
    encoded = generator.tokenizer.encode(prefix + text, limit)
    if must_fit and encoded.is_truncated:
        has = f"a text has {encoded.full_length} tokens and the model reads at most {limit}"
        raise InvalidOptions(f"{has}: give truncation=True, or a shorter text")
    return encoded.ids


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments that change something. None is as if an argument was left out."""
    for name in arguments.keys() - ARGUMENTS:
        if name not in IGNORED_ARGUMENTS:
            raise InvalidOptions(f"unsupported argument {name!r}; supported are {', '.join(sorted(ARGUMENTS))}")
        neutral_values, advice = IGNORED_ARGUMENTS[name]
        if str(arguments[name]) not in neutral_values.split():
            raise InvalidOptions(f"unsupported argument {name}={arguments[name]!r}: {advice}")
    return {name: value for name, value in arguments.items() if name in ARGUMENTS and value is not None}


def _import(
    source: str, kind: str, precision: str | None, revision: str | None, languages: Iterable[Any], cache: Path
) -> Path:
    """Returns the folder of a model in the cache, and imports the model if it is not there."""
    task = Task.TRANSLATION if kind == "translation" else Task.SUMMARIZATION
    name = _imported_name(source, revision)
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


def _imported_name(source: str, revision: str | None) -> str:
    """Returns the name of an imported model in the cache: the name of its source, and a hash.

    The hash is of the hub id and its revision, or of a local folder's files and when they changed. So a model is
    imported again if the files of its folder changed.
    """
    path = Path(source)
    hashed = [source, revision or ""]
    if path.is_dir():
        check_model_folder(path)
        files = [each for each in sorted(path.resolve().iterdir()) if each.exists()]
        if files:
            hashed = [f"{each} {each.stat().st_mtime_ns}" for each in files]
    digest = hashlib.sha256("\n".join(hashed).encode()).hexdigest()
    readable = re.sub("[^a-z0-9]+", "-", path.name.lower())[:MAX_READABLE_NAME].strip("-")
    return f"{readable}-{digest[:8]}".lstrip("-")


def _slimseq(*arguments: str) -> None:
    """Runs a command of the command line. Its progress is passed on, also to a notebook; its last line is the error."""
    command = [sys.executable, "-P", "-m", "slimseq", *arguments]
    last_line = ""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for last_line in process.stderr or ():
            sys.stderr.write(last_line)
    if process.returncode:
        raise BadSource(f"slimseq {arguments[0]} {arguments[1]}: {last_line.strip().removeprefix('error: ')}")
