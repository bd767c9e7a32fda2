"""What decoding needs to know of a model, read from a Hugging Face folder's JSON files alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.registry import FAMILIES, family_named
from slimseq.models_store.errors import BadSource, InvalidArtifact
from slimseq.models_store.files import short_name
from slimseq.models_store.generation import GenerationOptions


@dataclass(frozen=True)
class ModelConfiguration:
    """Special ids and limits of one encoder-decoder model.

    `max_positions` is the longest input or output that its positions allow, None where there is no limit;
    `suppressed_ids` are never generated; `source_vocabulary` is None where sources have the tokens of targets.
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
        InvalidArtifact: a file is missing or not JSON, the family is unknown, or a needed id is not there.
    """
    config = read_json(folder / "config.json")
    generation = read_json(folder / "generation_config.json", config)

    def special(name: str, fallback: int | None = None) -> int | None:
        value = generation.get(name)
        if value is None:
            value = config.get(name, fallback) if name in ("pad_token_id", "eos_token_id") else fallback
        return value[0] if isinstance(value, list) else value

    def required(name: str, fallback: int | None = None) -> int:
        value = special(name, fallback)
        if value is None:
            raise InvalidArtifact(f"{folder.name}: config.json and generation_config.json name no {name}")
        return value

    family = FAMILIES.get(config.get("model_type", ""))
    if family is None:
        raise InvalidArtifact(
            f"{folder.name}: model_type {config.get('model_type')!r} is not one of {', '.join(FAMILIES)}"
        )
    return ModelConfiguration(
        vocabulary=int(config["vocab_size"]),
        decoder_layers=family.layer_counts(config)[1],
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
    """Returns single ids that must not be generated; longer sequences that must not are left to transformers."""
    alone = [words[0] for words in generation.get("bad_words_ids") or [] if len(words) == 1]
    return tuple(dict.fromkeys([*alone, *(generation.get("suppress_tokens") or [])]))


def family_of(folder: Path) -> ModelFamily:
    """Returns the family of a model folder, or raises BadSource if it is not one that Slimseq takes."""
    try:
        return family_named(read_json(folder / "config.json").get("model_type"))
    except BadSource as error:
        raise BadSource(f"{folder}: {error}") from error


def read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads one JSON object. Raises InvalidArtifact for something else, and for no file where `missing` is None."""
    if missing is not None and not path.exists():
        return missing
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {reason}") from error
    if not isinstance(value, dict):
        raise InvalidArtifact(f"{short_name(path)} is not a JSON object")
    return value
