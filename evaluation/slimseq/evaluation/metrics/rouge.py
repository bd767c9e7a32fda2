"""ROUGE F-measures with the values of `rouge-score`, in one bit of memory for each pair of words.

For the longest common subsequence (LCS), `rouge-score` fills a table with one Python integer for each pair of words:
two texts of 25,000 words need gigabytes. Here each column of the table is an integer with one bit for each word of the
reference (Allison and Dix 1986, https://doi.org/10.1016/0020-0190(86)90091-8). Tokenization, stemming, ROUGE-1 and
ROUGE-2 are those of `rouge-score`.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate, chain

from rouge_score.scoring import fmeasure

ROUGE_METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
# Words whose bit masks are cached. Most words of a text are repetitions of few distinct ones.
CACHED_MASKS = 1024

Words = tuple[str, ...]


class Rouge:
    """Scores outputs against references. Words are stemmed; each line is a sentence."""

    def __init__(self) -> None:
        # They import NLTK, which takes longer to import than the service has time for when it starts.
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        self._tokenizer = DefaultTokenizer(use_stemmer=True)
        self._ngrams = RougeScorer(["rouge1", "rouge2"], tokenizer=self._tokenizer)

    def score(self, reference: str, output: str) -> dict[str, float]:
        """Returns the F-measure of each of `ROUGE_METRICS`, between 0 and 1."""
        ngrams = self._ngrams.score(reference, output)
        expected, found = self._sentences(reference), self._sentences(output)
        expected_words, found_words = tuple(chain.from_iterable(expected)), tuple(chain.from_iterable(found))
        lengths = len(expected_words), len(found_words)
        return {
            "rouge1": float(ngrams["rouge1"].fmeasure),
            "rouge2": float(ngrams["rouge2"].fmeasure),
            "rougeL": _f_measure(lcs_length(expected_words, found_words), *lengths),
            "rougeLsum": _f_measure(_union_hits(expected, found), *lengths),
        }

    def longest(self, reference: str, output: str) -> float:
        """Returns the F-measure of ROUGE-L only, between 0 and 1."""
        expected, found = self._tokenizer.tokenize(reference), self._tokenizer.tokenize(output)
        return _f_measure(lcs_length(expected, found), len(expected), len(found))

    def _sentences(self, text: str) -> list[Words]:
        return [tuple(self._tokenizer.tokenize(line)) for line in text.split("\n")]


def lcs_length(reference: Sequence[str], output: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, in memory that is linear in the reference."""
    masks = _Masks(reference)
    column = functools.reduce(_next_column, map(masks.of, output), 0)
    return column.bit_count()


def lcs_indices(reference: Sequence[str], output: Sequence[str]) -> set[int]:
    """Returns the indices in the reference of one longest common subsequence, the one that `rouge-score` finds.

    It stores the whole table, one bit for each pair of words: 20 MB for two texts of 12,000 words.
    """
    masks = _Masks(reference)
    _, *columns = accumulate(map(masks.of, output), _next_column, initial=0)
    indices = set()
    row = len(reference)
    for word, column in zip(reversed(output), reversed(columns), strict=True):
        # `rouge-score` moves up in a column to a row with the column's word, which belongs to the subsequence, or to a
        # row that adds one to the length, and then moves one column back.
        mask = masks.of(word)
        row = ((mask | column) & ((1 << row) - 1)).bit_length()
        if row == 0:
            break
        if mask >> (row - 1) & 1:
            row -= 1
            indices.add(row)
    return indices


class _Masks:
    """The positions of each word in a text, as the bits of an integer."""

    def __init__(self, words: Sequence[str]) -> None:
        self._bytes = len(words) // 8 + 1
        self._positions: defaultdict[str, list[int]] = defaultdict(list)
        for position, word in enumerate(words):
            self._positions[word].append(position)
        self.of = functools.lru_cache(CACHED_MASKS)(self._of)

    def _of(self, word: str) -> int:
        bits = bytearray(self._bytes)
        for position in self._positions.get(word, ()):
            bits[position >> 3] |= 1 << (position & 7)
        return int.from_bytes(bits, "little")


def _next_column(column: int, mask: int) -> int:
    """Returns the table's next column. Its bits are the rows where the length is one more than in the row above."""
    if not mask:
        return column
    either = column | mask
    return either & ~(either - (column << 1 | 1))


def _union_hits(references: Sequence[Words], outputs: Sequence[Words]) -> int:
    """Counts the words of all references that are in an LCS with an output, at most as often as in both texts."""
    left = Counter(chain.from_iterable(references)) & Counter(chain.from_iterable(outputs))
    union_of = functools.cache(functools.partial(_union, outputs=_by_word(outputs)))
    hits = 0
    for reference in references:
        for index in union_of(reference):
            if left[reference[index]] > 0:
                left[reference[index]] -= 1
                hits += 1
    return hits


def _union(reference: Words, outputs: dict[str, dict[Words, None]]) -> list[int]:
    """Returns the indices of a reference sentence's words that are in an LCS with any output sentence."""
    sharing = {output: None for word in dict.fromkeys(reference) for output in outputs.get(word, ())}
    return sorted(set().union(*(lcs_indices(reference, output) for output in sharing)))


def _by_word(sentences: Sequence[Words]) -> dict[str, dict[Words, None]]:
    """Returns the sentences that contain each word, each once."""
    found: defaultdict[str, dict[Words, None]] = defaultdict(dict)
    for sentence in sentences:
        for word in sentence:
            found[word][sentence] = None
    return found


def _f_measure(hits: int, expected: int, found: int) -> float:
    if not expected or not found:
        return 0.0
    return float(fmeasure(hits / found, hits / expected))
