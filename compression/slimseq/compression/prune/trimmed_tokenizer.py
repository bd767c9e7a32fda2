"""Trims a tokenizer: chooses the tokens that a corpus needs, and writes all tokenizer files with these tokens alone.

`vocabulary` counts the tokens of the corpus, and cuts the model's token matrices along.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimseq.compression.errors import BadParameters
from slimseq.inference.models.configuration import read_json
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.tokenizer import TARGET_TOKENIZER
from slimseq.models_store.files import write_json

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
ADDITIONAL = "additional_special_tokens"


def chosen_tokens(
    tokenizer: Mapping[str, Any], counts: Mapping[int, int], special_ids: set[int], limit: int, family: ModelFamily
) -> list[int]:
    """Returns the ids that stay, ascending.

    These ids always stay:

    - special and other added tokens; sentinels only if they are used;
    - single characters, so that every text encodes (for byte-level pairs they are the byte alphabet);
    - used pieces with a character that no single piece spells.

    The used tokens follow, the most frequent first, each together with the tokens that it needs: a token of byte pairs
    needs the parts of its merges, and their parts, down to single characters.

    If all used tokens stay, the corpus is encoded as before. Every merge that its encoding applies stays in the old
    order, and so does every piece of the best path of a unigram segmentation.

    Args:
        tokenizer: the parsed `tokenizer.json`.
        counts: how often the corpus has each id.
        special_ids: ids that always stay.
        limit: maximum number of ids; 0 for no limit.
        family: of the model, which knows its sentinels.

    Raises:
        BadParameters: it is neither unigram nor byte pairs, or `limit` is too small for what must stay.
    """
    pieces, parts = _pieces_and_parts(tokenizer["model"])
    singles = {piece for piece in pieces if len(piece) == 1}
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or []}
    always = {pieces[piece] for piece in singles} | special_ids
    always |= {token for piece, token in pieces.items() if BYTE_PIECE.fullmatch(piece)}
    always |= {token for content, token in added.items() if token in counts or not family.is_sentinel(content)}
    always |= {
        token for piece, token in pieces.items() if token in counts and piece not in added and not set(piece) <= singles
    }
    kept: set[int] = set()
    for token in sorted(always):
        kept |= _needed(token, parts, kept)
    if limit and len(kept) > limit:
        raise BadParameters(f"--vocabulary {limit} is below the {len(kept)} tokens that must stay for texts to encode")
    for token in sorted(counts, key=lambda token: (-counts[token], token)):
        needed = _needed(token, parts, kept)
        if not limit or len(kept) + len(needed) <= limit:
            kept |= needed
    return sorted(kept)


def _needed(token: int, parts: Callable[[int], set[int]], kept: set[int]) -> set[int]:
    """Returns a token and all tokens that it is merged from, without those that are kept already."""
    found: set[int] = set()
    remaining = {token} - kept
    while remaining:
        found |= remaining
        remaining = {part for whole in remaining for part in parts(whole)} - found - kept
    return found


def _pieces_and_parts(model: Mapping[str, Any]) -> tuple[dict[str, int], Callable[[int], set[int]]]:
    """Returns the id of every piece, and a function from an id to the ids that merges make it from."""
    if model["type"] == "Unigram":
        return {piece: token for token, (piece, _) in enumerate(model["vocab"])}, lambda token: set()
    if model["type"] != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise BadParameters(f"a {model['type']} tokenizer cannot be trimmed: unigram and byte-level pairs can")
    pieces: dict[str, int] = model["vocab"]
    made_of: dict[int, set[int]] = {}
    for left, right in map(_merge_parts, model["merges"]):
        made_of.setdefault(pieces[left + right], set()).update((pieces[left], pieces[right]))
    return pieces, lambda token: made_of.get(token, set())


def _merge_parts(merge: str | list[str]) -> tuple[str, str]:
    """Returns the two sides of a merge, which is a list in new files and a string with a blank in older ones."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def trim_tokenizer(source: Path, folder: Path, kept: Sequence[int]) -> None:
    """Writes the files of a tokenizer with fewer tokens, which are renumbered in the order of `kept`, ascending.

    The files are `tokenizer.json` (and that of targets, if there is one), `tokenizer_config.json`,
    `special_tokens_map.json`, and for byte pairs `vocab.json` and `merges.txt`, which slow classes and some converters
    read. A `spiece.model` is not written: it would still have all tokens.
    """
    from tokenizers import Tokenizer

    new_ids = {old: new for new, old in enumerate(kept)}
    folder.mkdir(parents=True, exist_ok=True)
    if (source / TARGET_TOKENIZER).exists():
        write_json(folder / TARGET_TOKENIZER, _trimmed_tokenizer(read_json(source / TARGET_TOKENIZER), new_ids), None)
    whole = read_json(source / "tokenizer.json")
    trimmed = _trimmed_tokenizer(whole, new_ids)
    write_json(folder / "tokenizer.json", trimmed, None)
    if trimmed["model"]["type"] == "BPE":
        Tokenizer.from_file(str(folder / "tokenizer.json")).model.save(str(folder))
    contents = {token["content"] for token in trimmed["added_tokens"]}
    # Of the added tokens, only sentinels can go.
    sentinels_removed = len(whole.get("added_tokens") or []) - len(trimmed["added_tokens"])
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).exists():
            config = read_json(source / name)
            write_json(folder / name, _configuration(config, contents, new_ids, sentinels_removed))


def _trimmed_tokenizer(tokenizer: Mapping[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """Returns the parsed `tokenizer.json` of the tokens that stay; pieces keep their scores, merges their order."""
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
        left, right = _merge_parts(merge)
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


def _configuration(
    config: dict[str, Any], contents: set[str], new_ids: Mapping[int, int], sentinels_removed: int
) -> dict[str, Any]:
    changed = dict(config)
    if ADDITIONAL in config:
        changed[ADDITIONAL] = [
            token for token in config[ADDITIONAL] if (token if isinstance(token, str) else token["content"]) in contents
        ]
    if "added_tokens_decoder" in config:
        changed["added_tokens_decoder"] = {
            str(new_ids[int(old)]): token
            for old, token in config["added_tokens_decoder"].items()
            if int(old) in new_ids
        }
    if "extra_ids" in config:
        # The T5 classes insist that this is the number of sentinels named.
        changed["extra_ids"] = config["extra_ids"] - sentinels_removed
    return changed
