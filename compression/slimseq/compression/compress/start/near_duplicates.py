"""Finds texts that are nearly the same as others, so that held-out texts are really new.

Two texts are near duplicates if they share most of their runs of three words (Broder 1997, "On the resemblance and
containment of documents": the Jaccard similarity of shingles). Case, punctuation and digits do not count: a template
that was filled with other numbers is the same text.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

WORDS_OF_SHINGLE = 3
# Similarity from which two texts are near duplicates. Two sentences of twenty words that differ in one word in the
# middle share fifteen of twenty-one runs, 0.71; two that differ in two such words, twelve of twenty-four, 0.5.
MIN_SIMILARITY = 0.6
# A longer text is compared by its beginning: two articles with the same first 300 words are the same article.
MAX_WORDS = 300
_WORD = re.compile(r"\w+")
_DIGITS = re.compile(r"\d+")


def near_duplicates(texts: Sequence[str], others: Iterable[str]) -> set[int]:
    """Returns the indices of those `texts` that have a near duplicate among `others`.

    `others` are read one by one, so that they need not fit into memory.
    """
    own = [_shingles(text) for text in texts]
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, shingles in enumerate(own):
        for shingle in shingles:
            places[shingle].append(index)
    found: set[int] = set()
    for other in others:
        shingles = _shingles(other)
        shared = Counter(index for shingle in shingles for index in places.get(shingle, ()))
        for index, count in shared.items():
            if count >= MIN_SIMILARITY * (len(own[index]) + len(shingles) - count):
                found.add(index)
    return found


def _shingles(text: str) -> set[str]:
    """Returns the runs of three words of a text. A shorter text is one run."""
    words = _WORD.findall(_DIGITS.sub("0", text.casefold()))[:MAX_WORDS]
    last_start = max(1, len(words) - WORDS_OF_SHINGLE + 1)
    return {" ".join(words[start : start + WORDS_OF_SHINGLE]) for start in range(last_start)}
