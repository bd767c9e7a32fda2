"""Writes a tokenizer that has only some of another's tokens, every file of it in agreement with `tokenizer.json`."""

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimseq.compression.prune.token_choice import SENTINEL, merge_parts
from slimseq.compression.publish import write_json
from slimseq.compression.training.targets import TARGET_TOKENIZER
from slimseq.inference.models.configuration import read_json

ADDITIONAL = "additional_special_tokens"


def write_trimmed_tokenizer(source: Path, folder: Path, new_ids: Mapping[int, int]) -> None:
    """Writes the files of a tokenizer with fewer tokens.

    That is `tokenizer.json` (and that of targets, where there is one), `tokenizer_config.json`,
    `special_tokens_map.json`, and for byte pairs the two files that slow classes and some converters read
    (`vocab.json`, `merges.txt`). A `spiece.model` is not written: it would be the full one.

    Args:
        source: the folder of the full tokenizer.
        folder: written to; made where it is missing.
        new_ids: the new id of every old one that stays.
    """
    from tokenizers import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    if (source / TARGET_TOKENIZER).exists():
        write_json(folder / TARGET_TOKENIZER, trimmed_tokenizer(read_json(source / TARGET_TOKENIZER), new_ids))
    trimmed = trimmed_tokenizer(read_json(source / "tokenizer.json"), new_ids)
    write_json(folder / "tokenizer.json", trimmed)
    if trimmed["model"]["type"] == "BPE":
        Tokenizer.from_file(str(folder / "tokenizer.json")).model.save(str(folder))
    contents = {token["content"] for token in trimmed["added_tokens"]}
    for name, change in (("tokenizer_config.json", _configuration), ("special_tokens_map.json", _specials)):
        if (source / name).exists():
            write_json(folder / name, change(read_json(source / name), contents, new_ids))


def trimmed_tokenizer(tokenizer: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """Returns the parsed `tokenizer.json` of the tokens that stay; pieces keep their scores, merges their order.

    Args:
        tokenizer: the parsed `tokenizer.json`, of unigram or pairs; stays as it is.
        new_ids: the new id of every old one that stays.
    """
    trimmed: dict[str, Any] = {
        name: copy.deepcopy(value) for name, value in tokenizer.items() if name not in ("model", "added_tokens")
    }
    trimmed["model"] = _trimmed_model(tokenizer["model"], new_ids)
    trimmed["added_tokens"] = sorted(
        (
            token | {"id": new_ids[token["id"]]}
            for token in tokenizer.get("added_tokens") or []
            if token["id"] in new_ids
        ),
        key=lambda token: int(token["id"]),
    )
    _renumber_template(trimmed.get("post_processor"), new_ids)
    if trimmed.get("padding"):
        trimmed["padding"]["pad_id"] = new_ids[trimmed["padding"]["pad_id"]]
    return trimmed


def _trimmed_model(model: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    trimmed = {name: value for name, value in model.items() if name not in ("vocab", "merges")}
    if model["type"] == "Unigram":
        trimmed["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_ids]
        if model.get("unk_id") is not None:
            trimmed["unk_id"] = new_ids[model["unk_id"]]
        return trimmed
    vocabulary = {piece: new_ids[old] for piece, old in model["vocab"].items() if old in new_ids}
    trimmed["vocab"] = vocabulary

    def stays(merge: str | list[str]) -> bool:
        left, right = merge_parts(merge)
        return left in vocabulary and right in vocabulary and left + right in vocabulary

    trimmed["merges"] = [merge for merge in model["merges"] if stays(merge)]
    return trimmed


def _renumber_template(processor: dict[str, Any] | None, new_ids: Mapping[int, int]) -> None:
    """Renumbers, in place, the ids that a post-processor puts around texts."""
    if processor is None:
        return
    for inner in processor.get("processors", ()):
        _renumber_template(inner, new_ids)
    for side in ("sep", "cls"):
        if side in processor:
            content, old = processor[side]
            processor[side] = [content, new_ids[old]]
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new_ids[old] for old in special["ids"]]


def _configuration(config: dict[str, Any], contents: set[str], new_ids: Mapping[int, int]) -> dict[str, Any]:
    changed = _specials(config, contents, new_ids)
    if "added_tokens_decoder" in config:
        changed["added_tokens_decoder"] = {
            str(new_ids[int(old)]): token
            for old, token in config["added_tokens_decoder"].items()
            if int(old) in new_ids
        }
    if "extra_ids" in config:
        # The T5 classes insist that this is the number of sentinels named.
        changed["extra_ids"] = sum(1 for content in contents if re.fullmatch(SENTINEL, content))
    return changed


def _specials(names: dict[str, Any], contents: set[str], new_ids: Mapping[int, int]) -> dict[str, Any]:
    changed = dict(names)
    if ADDITIONAL in names:
        changed[ADDITIONAL] = [token for token in names[ADDITIONAL] if _content(token) in contents]
    return changed


def _content(token: str | dict[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])
