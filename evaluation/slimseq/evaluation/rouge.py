"""ROUGE F-measures with the values of `rouge-score`, in memory that grows with the texts and not with their product.

`rouge-score` fills a table of Python integers for the longest common subsequence (LCS), one for each pair of words: two
texts of 25,000 words need gigabytes. Here a column of that table is one integer with a bit for each word of the
reference (Allison and Dix 1986, https://doi.org/10.1016/0020-0190(86)90091-8). Words, stems, ROUGE-1 and ROUGE-2 are
`rouge-score`'s own.
"""

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import fmeasure
from rouge_score.tokenizers import DefaultTokenizer

ROUGE_METRICS = ("rouge1", "rouge2", "rougeL", "rougeLsum")
# Bit masks of words that are kept; others are made again. Most words of a text are few words again and again.
KEPT_MASKS = 1024
# Columns that are kept at least: sentences are shorter, so that none of theirs is computed twice.
LEAST_KEPT_COLUMNS = 128

Words = tuple[str, ...]


class Rouge:
    """Scores outputs against references. Words are stemmed, lines are sentences."""

    def __init__(self) -> None:
        self._tokenizer = DefaultTokenizer(use_stemmer=True)
        self._ngrams = RougeScorer(["rouge1", "rouge2"], tokenizer=self._tokenizer)

    def score(self, reference: str, output: str) -> dict[str, float]:
        """Returns the F-measure of each of `ROUGE_METRICS`, between 0 and 1."""
        ngrams = self._ngrams.score(reference, output)
        expected, made = self._sentences(reference), self._sentences(output)
        expected_words, made_words = tuple(chain.from_iterable(expected)), tuple(chain.from_iterable(made))
        lengths = len(expected_words), len(made_words)
        return {
            "rouge1": float(ngrams["rouge1"].fmeasure),
            "rouge2": float(ngrams["rouge2"].fmeasure),
            "rougeL": _f_measure(lcs_length(expected_words, made_words), *lengths),
            "rougeLsum": _f_measure(_union_hits(expected, made), *lengths),
        }

    def _sentences(self, text: str) -> list[Words]:
        return [tuple(self._tokenizer.tokenize(line)) for line in text.split("\n")]


def lcs_length(reference: Sequence[str], output: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, in memory that is linear in the reference."""
    masks = _Masks(reference)
    column = functools.reduce(_next_column, map(masks.of, output), 0)
    return column.bit_count()


def lcs_places(reference: Sequence[str], output: Sequence[str]) -> set[int]:
    """Returns the places in the reference of one longest common subsequence: the one that `rouge-score` reads out.

    The memory is that of 2 * sqrt(words of the output) columns of one bit for each word of the reference, and of 1,024
    masks of the same size: 4 MB for two texts of 25,000 words.
    """
    masks = _Masks(reference)
    places = set()
    row = len(reference)
    for word, column in _columns_from_the_last(masks, output):
        # `rouge-score` goes up in a column to a row whose word is the column's, which it takes, or that adds one to the
        # length, and then one column back.
        mask = masks.of(word)
        row = ((mask | column) & ((1 << row) - 1)).bit_length()
        if row == 0:
            break
        if mask >> (row - 1) & 1:
            row -= 1
            places.add(row)
    return places


class _Masks:
    """Where each word is in a text, as an integer whose bits are the places."""

    def __init__(self, words: Sequence[str]) -> None:
        self._bytes = len(words) // 8 + 1
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, word in enumerate(words):
            self._places[word].append(place)
        self.of = functools.lru_cache(KEPT_MASKS)(self._of)

    def _of(self, word: str) -> int:
        bits = bytearray(self._bytes)
        for place in self._places.get(word, ()):
            bits[place >> 3] |= 1 << (place & 7)
        return int.from_bytes(bits, "little")


def _next_column(column: int, mask: int) -> int:
    """Returns the table's next column: its bits are the rows where the length is one more than in the row above.

    Args:
        column: the one before it; 0 for the first.
        mask: of the next column's word.
    """
    if not mask:
        return column
    either = column | mask
    return either & ~(either - (column << 1 | 1))


def _columns_from_the_last(masks: _Masks, output: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yields each word with its column, from the last to the first.

    Kept are the columns of one stretch of words, and the column before each stretch, from which the stretch's are
    computed again.
    """
    length = max(math.isqrt(len(output)), LEAST_KEPT_COLUMNS)
    stretches = [output[start : start + length] for start in range(0, len(output), length)]
    befores = [0]
    for stretch in stretches[:-1]:
        befores.append(functools.reduce(_next_column, map(masks.of, stretch), befores[-1]))
    for stretch in reversed(stretches):
        _, *columns = accumulate(map(masks.of, stretch), _next_column, initial=befores.pop())
        yield from zip(reversed(stretch), reversed(columns), strict=True)


def _union_hits(references: Sequence[Words], outputs: Sequence[Words]) -> int:
    """Counts the words of all references that are in an LCS with an output, none more often than either side has it."""
    left = Counter(chain.from_iterable(references)) & Counter(chain.from_iterable(outputs))
    union_of = functools.cache(functools.partial(_union, outputs=_by_word(outputs)))
    hits = 0
    for reference in references:
        for place in union_of(reference):
            if left[reference[place]] > 0:
                left[reference[place]] -= 1
                hits += 1
    return hits


def _union(reference: Words, outputs: dict[str, dict[Words, None]]) -> list[int]:
    """Returns the places of a reference sentence's words that are in an LCS with any output sentence."""
    sharing = {output: None for word in dict.fromkeys(reference) for output in outputs.get(word, ())}
    return sorted(set().union(*(lcs_places(reference, output) for output in sharing)))


def _by_word(sentences: Sequence[Words]) -> dict[str, dict[Words, None]]:
    """Returns, for each word, the sentences that have it, each once."""
    found: defaultdict[str, dict[Words, None]] = defaultdict(dict)
    for sentence in sentences:
        for word in sentence:
            found[word][sentence] = None
    return found


def _f_measure(hits: int, expected: int, made: int) -> float:
    if not expected or not made:
        return 0.0
    return float(fmeasure(hits / made, hits / expected))
