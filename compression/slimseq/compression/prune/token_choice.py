"""Which tokens of a tokenizer a corpus needs: those it uses, what these are merged from, and what must always stay."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from slimseq.compression.errors import BadParameters

SENTINEL = re.compile(r"<extra_id_\d+>")
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")


def chosen_tokens(
    tokenizer: Mapping[str, Any], counts: Mapping[int, int], special_ids: set[int], limit: int
) -> list[int]:
    """Returns the ids that stay, ascending.

    Always there: specials and other added tokens (T5's sentinels only where they are used), single characters (for
    byte-level pairs that is the byte alphabet, so that every text encodes), and used pieces with a character that no
    single piece spells. Then, from the most frequent on, each used token together with what it needs: a token of byte
    pairs needs the parts of its merges, and theirs, down to single characters. With all of those, byte pairs merge
    the corpus as before: every merge that its encoding applies stays, in the old order. A unigram segmentation stays
    as it was since the best path's pieces do.

    Args:
        tokenizer: the parsed `tokenizer.json`.
        counts: how often the corpus uses each id.
        special_ids: further ids that always stay.
        limit: how many at most; 0 is as many as the corpus needs.

    Raises:
        BadParameters: it is neither unigram nor byte pairs, or `limit` is too small for what must stay.
    """
    pieces, parts = _pieces_and_parts(tokenizer["model"])
    singles = {piece for piece in pieces if len(piece) == 1}
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or []}
    always = {pieces[piece] for piece in singles} | special_ids
    always |= {token for piece, token in pieces.items() if BYTE_PIECE.fullmatch(piece)}
    always |= {token for content, token in added.items() if token in counts or not SENTINEL.fullmatch(content)}
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
    """Returns a token and all it is merged from, without what is kept already."""
    found: set[int] = set()
    waiting = {token} - kept
    while waiting:
        found |= waiting
        waiting = {part for whole in waiting for part in parts(whole)} - found - kept
    return found


def _pieces_and_parts(model: Mapping[str, Any]) -> tuple[dict[str, int], Callable[[int], set[int]]]:
    """Returns the id of every piece, and a function from an id to those that merges make it from."""
    if model["type"] == "Unigram":
        return {piece: token for token, (piece, _) in enumerate(model["vocab"])}, lambda token: set()
    if model["type"] != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise BadParameters(f"a {model['type']} tokenizer cannot be trimmed: unigram and byte-level pairs can")
    pieces: dict[str, int] = model["vocab"]
    made_of: dict[int, set[int]] = {}
    for left, right in map(merge_parts, model["merges"]):
        made_of.setdefault(pieces[left + right], set()).update((pieces[left], pieces[right]))
    return pieces, lambda token: made_of.get(token, set())


def merge_parts(merge: str | list[str]) -> tuple[str, str]:
    """Returns the two sides of a merge, which is a list in new files and a string with a blank in older ones."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
