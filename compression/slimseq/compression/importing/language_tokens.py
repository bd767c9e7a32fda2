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

# Configuration keys with the token of the target language, in the order in which they are looked up.
TARGET_KEYS = ("forced_bos_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class LanguageTokens:
    """The tokens of the source and the target language, such as `fr_XX`. Empty if the model has none."""

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
    in_templates = (
        name for template in _templates(tokenizer) for name in template["special_tokens"] if pattern.fullmatch(name)
    )
    paths = [folder / name for name in ("generation_config.json", "config.json")]
    first_ids = [read_json(path).get(key) for path in paths if path.exists() for key in TARGET_KEYS]
    targets = (code_of[number] for number in first_ids if isinstance(number, int) and number in code_of)
    return LanguageTokens(next(in_templates, ""), next(targets, ""))


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
            # NLLB's file on the hub has the token behind the text. Its class has put the token first since then.
            for name in ("single", "pair"):
                template[name].sort(key=lambda piece: piece.get("SpecialToken", {}).get("id") != tokens.source)
    write_json(path, tokenizer)
    write_json(config, said | {SOURCE_KEY: tokens.source, TARGET_KEY: tokens.target})
    first_token = templates[0]["single"][0].get("SpecialToken", {}).get("id")
    is_forced = family.begins_with_language or first_token == tokens.source
    _set_first_output(model, ids[tokens.target], is_forced, set(ids.values()))
    return bool(is_forced)


def _ids(tokenizer: dict[str, Any], pattern: re.Pattern[str]) -> dict[str, int]:
    """Returns the ids of a tokenizer's language tokens by token, in the order of ids."""
    added = [token for token in tokenizer.get("added_tokens") or [] if pattern.fullmatch(token["content"])]
    return {token["content"]: int(token["id"]) for token in sorted(added, key=lambda token: int(token["id"]))}


def _templates(tokenizer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the templates of a post-processor, those inside of a sequence too."""
    processor = tokenizer.get("post_processor") or {}
    for part in processor.get("processors", [processor]):
        if part.get("type") == "TemplateProcessing":
            yield part


def _mark_with(template: dict[str, Any], token: str, number: int, pattern: re.Pattern[str]) -> None:
    """Replaces the language token of a template, in place. `number` is the id of the new token."""
    for name in ("single", "pair"):
        for piece in template[name]:
            special = piece.get("SpecialToken")
            if special and pattern.fullmatch(special["id"]):
                special["id"] = token
    others = {name: entry for name, entry in template["special_tokens"].items() if not pattern.fullmatch(name)}
    template["special_tokens"] = others | {token: {"id": token, "ids": [number], "tokens": [token]}}


def _set_first_output(model: "PreTrainedModel", target: int, is_forced: bool, languages: Collection[int]) -> None:
    """Sets the id of the target language in a model's configurations.

    It is forced as the first output, or it is the decoder's start token. `languages` are the ids of all language
    tokens: none of them may start the decoder where the target is forced.
    """
    generation = model.generation_config
    assert generation is not None
    start: int | None
    forced: int | None
    if is_forced:
        start, forced = generation.decoder_start_token_id, target
        if start is None or start in languages:
            start = model.config.eos_token_id
    else:
        start, forced = target, None
    for owner in (model.config, generation):
        owner.decoder_start_token_id = start
        owner.forced_bos_token_id = forced
