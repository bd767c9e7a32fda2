"""What decoding needs to know of a model, read from a Hugging Face folder's JSON files alone.

`bounds` says which values are refused. The names of tensors are left to `family` and `architecture`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from slimseq.inference.models.bounds import problem_of, without_nulls
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.registry import FAMILIES, family_named
from slimseq.models_store.errors import BadSource, InvalidArtifact
from slimseq.models_store.files import short_name
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.model_folder import read_regular

CONFIG, GENERATION_CONFIG, TOKENIZER_CONFIG = "config.json", "generation_config.json", "tokenizer_config.json"
# Longer lengths mean none: transformers writes 10**30 where a tokenizer's author named no length.
MAX_NAMED_LENGTH = 10**6
# An escape that may be half of a surrogate pair.
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class ModelConfiguration:
    """Special ids and limits of one encoder-decoder model.

    Attributes:
        vocabulary: the number of tokens that an output may have.
        decoder_layers: the number of the decoder's layers.
        pad_id: the padding token.
        eos_id: the end token.
        decoder_start_id: the token that the decoder begins with; it is not part of an output.
        forced_bos_id: the token that every output begins with, if any.
        forced_eos_id: the token that an output of maximum length ends with, if any.
        max_positions: the longest input or output that its positions allow; None where there is no limit.
        suppressed_ids: tokens that are never generated.
        source_vocabulary: the number of tokens of sources; None where sources have the tokens of targets.
    """

    vocabulary: int
    decoder_layers: int
    pad_id: int
    eos_id: int
    decoder_start_id: int
    forced_bos_id: int | None
    forced_eos_id: int | None
    max_positions: int | None
    suppressed_ids: tuple[int, ...] = ()
    source_vocabulary: int | None = None

    def first_token(self, options: GenerationOptions) -> int | None:
        """Returns the token that is generated first, whatever the model would choose; None if it may."""
        return self.forced_bos_id if options.forced_bos_token_id is None else options.forced_bos_token_id


def read_configuration(folder: Path) -> ModelConfiguration:
    """Reads `config.json`, with `generation_config.json` before it where both name an id, as transformers does.

    Raises:
        InvalidArtifact: a file is missing or not JSON, the family is unknown, a needed key is not there, or a field is
            of another type or out of bounds.
    """
    config = read_config(folder)
    generation = read_generation_config(folder, config)

    def special(name: str, fallback: int | None = None) -> int | None:
        """Returns a special id. If a file names a list of ids, the first one counts."""
        value = generation.get(name)
        if value is None:
            value = fallback
            if name in ("pad_token_id", "eos_token_id"):
                value = config.get(name, fallback)
        if isinstance(value, list):
            return value[0] if value else None
        return value

    def required(name: str, fallback: int | None = None) -> int:
        value = special(name, fallback)
        if value is None:
            raise InvalidArtifact(f"{folder.name}: config.json and generation_config.json name no {name}")
        return value

    family = FAMILIES.get(config.get("model_type") or "")
    if family is None:
        raise InvalidArtifact(
            f"{folder.name}: model_type {config.get('model_type')!r} is not one of {', '.join(FAMILIES)}"
        )
    try:
        vocabulary = config["vocab_size"]
        _, decoder_layers = family.layer_counts(config)
    except KeyError as error:
        raise InvalidArtifact(f"{folder.name}: config.json says nothing of {error}") from error
    return ModelConfiguration(
        vocabulary=vocabulary,
        decoder_layers=decoder_layers,
        pad_id=required("pad_token_id"),
        eos_id=required("eos_token_id"),
        decoder_start_id=required("decoder_start_token_id", config.get("decoder_start_token_id")),
        forced_bos_id=special("forced_bos_token_id"),
        forced_eos_id=special("forced_eos_token_id"),
        max_positions=family.max_positions(config),
        suppressed_ids=_suppressed(generation),
        source_vocabulary=config.get("source_vocab_size"),
    )


def _suppressed(generation: dict[str, Any]) -> tuple[int, ...]:
    """Returns single ids that must not be generated. Forbidden sequences of several ids are left to transformers."""
    alone = [words[0] for words in generation.get("bad_words_ids") or [] if len(words) == 1]
    others = generation.get("suppress_tokens") or []
    if not isinstance(others, list):
        others = [others]
    return tuple(dict.fromkeys([*alone, *others]))


def family_of(folder: Path) -> ModelFamily:
    """Returns the family of a model folder, or raises BadSource if it is not one that Slimseq takes."""
    try:
        return family_named(read_config(folder).get("model_type"))
    except BadSource as error:
        raise BadSource(f"{folder}: {error}") from error


def longest_input(config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> tuple[int | None, str]:
    """Returns how many input tokens a model is made for, by its files, and a reason to show.

    The number is the length that its tokenizer names (`model_max_length`), or else the length that a T5 was trained
    with. It is never more than the model's positions, and None if its files name no length.
    """
    family = family_named(config.get("model_type"))
    named = tokenizer_config.get("model_max_length")
    positions = family.max_positions(config)
    length, reason = family.trained_length(config), "the length that it was trained with"
    if isinstance(named, int) and not isinstance(named, bool) and 0 < named <= MAX_NAMED_LENGTH:
        length, reason = named, "the length that its tokenizer names"
    if positions is not None and (length is None or positions <= length):
        return positions, "as many as it has positions"
    return length, reason


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the `config.json` of a model folder, with fields of the types and within the bounds of `bounds`.

    A field that is null counts as missing.

    Raises:
        InvalidArtifact: it is missing, not JSON, or a field is not.
    """
    return _checked(folder / CONFIG, read_json(folder / CONFIG))


def read_generation_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the `generation_config.json` of a model folder. Without one, these are the fields of `config`."""
    fields = read_json(folder / GENERATION_CONFIG, dict(config))
    return _checked(folder / GENERATION_CONFIG, fields, config.get("vocab_size"))


def _checked(path: Path, fields: dict[str, Any], vocabulary: int | None = None) -> dict[str, Any]:
    problem = problem_of(fields, vocabulary)
    if problem:
        raise InvalidArtifact(f"{short_name(path)}: {problem}")
    return without_nulls(fields)


def read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads one JSON object. Returns `missing` if there is no file.

    Raises:
        InvalidArtifact: the file is no JSON object, or there is no file and `missing` is None.
    """
    if missing is not None and not path.exists():
        return missing
    try:
        text = read_regular(path).decode()
        value = json.loads(text, parse_constant=_refuse_constant)
        if SURROGATE.search(text):
            # JSON can escape half of a pair, which no UTF-8 can hold: this raises ValueError.
            json.dumps(value, ensure_ascii=False).encode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {reason}") from error
    except RecursionError as error:
        raise InvalidArtifact(f"{short_name(path)} cannot be read: it is nested too deeply") from error
    if not isinstance(value, dict):
        raise InvalidArtifact(f"{short_name(path)} is not a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
