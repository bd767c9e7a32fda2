"""Reads and sets the language tokens of a model.

The token of the source language is in the tokenizer's template. mBART has it after a text and starts the decoder with
the token of the target language; mBART-50, M2M100 and NLLB have it before a text and force the target's token as the
first output.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimseq.compression.models import family_of_model
from slimseq.compression.train.data.training_data import SOURCE_KEY, TARGET_KEY
from slimseq.inference.models.configuration import family_of, read_json
from slimseq.models_store.errors import BadSource
from slimseq.models_store.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Configuration keys with the first tokens of the decoder.
STARTS = ("forced_bos_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class LanguageTokens:
    """Tokens such as `fr_XX`; empty if a model has none."""

    source: str
    target: str


def language_codes(tokenizer_folder: Path, pattern: re.Pattern[str]) -> dict[str, str]:
    """Returns the names of the languages of a `tokenizer.json` by token, in the order of ids."""
    found = map(pattern.fullmatch, _ids(read_json(tokenizer_folder / "tokenizer.json"), pattern))
    return {match[0]: match[1] for match in found if match}


def read_language_tokens(folder: Path, tokenizer_folder: Path) -> LanguageTokens:
    """Returns the language tokens in a model's files."""
    pattern = family_of(folder).language_token
    assert pattern is not None, "the family has language tokens"
    tokenizer = read_json(tokenizer_folder / "tokenizer.json")
    code_of = {number: code for code, number in _ids(tokenizer, pattern).items()}
    marks = (name for part in _templates(tokenizer) for name in part["special_tokens"] if pattern.fullmatch(name))
    source = next(marks, "")
    paths = [folder / name for name in ("generation_config.json", "config.json")]
    said = [read_json(path).get(name) for path in paths if path.exists() for name in STARTS]
    target = next((code_of[number] for number in said if isinstance(number, int) and number in code_of), "")
    return LanguageTokens(source, target)


def set_language_tokens(model: "PreTrainedModel", tokenizer_folder: Path, tokens: LanguageTokens) -> bool:
    """Sets the language token of a tokenizer's template and the first output token of a model.

    Returns whether the target's token is forced as the first output, so that a request may choose it.

    Raises:
        BadSource: the tokenizer has no template with a language token.
    """
    family = family_of_model(model)
    pattern = family.language_token
    assert pattern is not None, "the family has language tokens"
    path = tokenizer_folder / "tokenizer.json"
    tokenizer = read_json(path)
    ids = _ids(tokenizer, pattern)
    templates = [part for part in _templates(tokenizer) if any(map(pattern.fullmatch, part["special_tokens"]))]
    if not templates:
        raise BadSource(
            "tokenizer.json knows languages, and marks no text with one: its post-processor has no template for it"
        )
    config = tokenizer_folder / "tokenizer_config.json"
    said = read_json(config, {"tokenizer_class": "PreTrainedTokenizerFast"})
    for template in templates:
        _mark_with(template, tokens.source, ids[tokens.source], pattern)
        if family.begins_with_language and not said.get("legacy_behaviour"):
            # The file of NLLB on the hub is older than its class, which has the token first.
            for name in ("single", "pair"):
                template[name].sort(key=lambda piece: piece.get("SpecialToken", {}).get("id") != tokens.source)
    write_json(path, tokenizer)
    write_json(config, said | {SOURCE_KEY: tokens.source, TARGET_KEY: tokens.target})
    first = templates[0]["single"][0].get("SpecialToken", {}).get("id")
    is_forced = family.begins_with_language or first == tokens.source
    _begin_with(model, ids[tokens.target], is_forced, set(ids.values()))
    return bool(is_forced)


def _ids(tokenizer: dict[str, Any], pattern: re.Pattern[str]) -> dict[str, int]:
    added = [token for token in tokenizer.get("added_tokens") or [] if pattern.fullmatch(token["content"])]
    return {token["content"]: int(token["id"]) for token in sorted(added, key=lambda token: int(token["id"]))}


def _templates(tokenizer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the templates of a post-processor, those inside of a sequence too."""
    processor = tokenizer.get("post_processor") or {}
    for part in processor.get("processors", [processor]):
        if part.get("type") == "TemplateProcessing":
            yield part


def _mark_with(template: dict[str, Any], token: str, number: int, pattern: re.Pattern[str]) -> None:
    for name in ("single", "pair"):
        for piece in template[name]:
            special = piece.get("SpecialToken")
            if special and pattern.fullmatch(special["id"]):
                special["id"] = token
    others = {name: entry for name, entry in template["special_tokens"].items() if not pattern.fullmatch(name)}
    template["special_tokens"] = others | {token: {"id": token, "ids": [number], "tokens": [token]}}


def _begin_with(model: "PreTrainedModel", number: int, is_forced: bool, languages: Collection[int]) -> None:
    generation = model.generation_config
    assert generation is not None
    start, forced = (generation.decoder_start_token_id, number) if is_forced else (number, None)
    if is_forced and (start is None or start in languages):
        start = model.config.eos_token_id
    for owner in (model.config, generation):
        owner.decoder_start_token_id = start
        owner.forced_bos_token_id = forced
