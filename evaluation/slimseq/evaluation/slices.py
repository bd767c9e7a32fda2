"""Slices of a data set's samples, and what a variant keeps of its reference's quality on each.

`slimseq.evaluation.run` scores them from the outputs and statistics that it has. A variant that keeps 98 % over all may
lose most of the rest on long sentences: a slice shows where.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slimseq.evaluation.bootstrap import retention
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.metrics import MetricStatistics
from slimseq.inference.generator import TextGenerator
from slimseq.models_store.errors import printable
from slimseq.models_store.measurements import SliceDimension, SliceScore

# The 95 % interval of a slice's retention of BLEU is 0.25 wide with 50 sentences (0.34 with 30, 0.18 with 100, 0.08
# with 500; Tatoeba, the embedded `pruned`): with fewer a loss of 10 % would not be seen.
MIN_SLICE_SAMPLES = 50
# Words of a source whose tokens are counted: about as many as a model with 512 input tokens reads.
COUNTED_WORDS = 300
# Longer names of origins are cut where they are shown.
MAX_NAME_CHARACTERS = 80
RARE_WORDS = {1: ("all",), 2: ("few", "many"), 3: ("few", "some", "many")}

# Han characters and kana, which have no spaces between words: each counts as a word.
_WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_WIDE}]|[^\\s{_WIDE}]+")
# Punctuation marks are tokens too. Without them a short sentence would seem to have rarer words than a long one.
_WORD_OR_MARK = re.compile(f"[{_WIDE}]|[^\\W{_WIDE}]+|[^\\w\\s]")

CountTokens = Callable[[str], int]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Slice:
    """Some samples of a data set, by their indices, `(samples of the slice,)`."""

    dimension: SliceDimension
    name: str
    indices: Indices


def slices_of(examples: Sequence[Example], count_tokens: CountTokens) -> list[Slice]:
    """Slices samples by origin, by the length of the source, and by its share of rare words.

    Lengths and rare words have three slices of about the same number of samples; equal values are in the same one. Rare
    words have more tokens than common ones. Left out are slices with fewer than `MIN_SLICE_SAMPLES` samples, and those
    of all samples.
    """
    lengths = np.array([len(_WORD.findall(example.source)) for example in examples])
    rarity = np.array([_tokens_a_word(example.source, count_tokens) for example in examples])
    found = [Slice("origin", _shown(name), indices) for name, indices in sorted(_by_origin(examples).items())]
    for indices in thirds(lengths):
        words = dict.fromkeys(str(bound(lengths[indices])) for bound in (np.min, np.max))
        found.append(Slice("length", f"{' to '.join(words)} word{'' if list(words) == ['1'] else 's'}", indices))
    groups = thirds(rarity)
    for level, indices in zip(RARE_WORDS[len(groups)], groups, strict=True):
        bounds = dict.fromkeys(f"{bound(rarity[indices]):.2f}" for bound in (np.min, np.max))
        found.append(Slice("rare_words", f"{level} ({' to '.join(bounds)} tokens a word)", indices))
    return [each for each in found if MIN_SLICE_SAMPLES <= len(each.indices) < len(examples)]


def slice_scores(
    slices: Sequence[Slice], variant: MetricStatistics, reference: MetricStatistics
) -> tuple[SliceScore, ...]:
    """Scores slices, with the retention and the interval of `slimseq.evaluation.bootstrap.retention`.

    Both statistics are of the same metric on all samples. Slices on which the reference's value is 0 have no score.
    """
    found = []
    for each in slices:
        own, others = (replace(of, per_sample=of.per_sample[each.indices]) for of in (variant, reference))
        kept = retention(own, others)
        if kept is not None:
            found.append(
                SliceScore(
                    dimension=each.dimension,
                    name=each.name,
                    samples=own.samples,
                    value=own.value,
                    retention=kept[0],
                    retention_interval=kept[1],
                )
            )
    return tuple(found)


def counts_tokens(generator: TextGenerator) -> CountTokens:
    """Returns a function that counts the tokens of a text by an open artifact's tokenizer, without special tokens."""
    specials = generator.encode("", "").full_length
    return lambda text: generator.encode(text, "").full_length - specials


def thirds(values: NDArray[np.generic]) -> list[Indices]:
    """Divides samples into at most three groups of about the same size, lowest values first; returns their indices.

    Equal values are in the same group: there is one if all values are equal.
    """
    distinct, counts = np.unique(values, return_counts=True)
    # The number of samples up to each value that may end a group.
    below = np.cumsum(counts)[:-1]
    ends = sorted({int(np.argmin(np.abs(3 * below - part * len(values)))) for part in (1, 2)} if len(below) else ())
    groups = np.searchsorted(distinct[ends], values)
    return [np.flatnonzero(groups == group) for group in range(len(ends) + 1)]


def _by_origin(examples: Sequence[Example]) -> Mapping[str, Indices]:
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        if example.origin and (name := " ".join(example.origin.split())):
            found[name].append(index)
    return {name: np.array(indices, dtype=np.intp) for name, indices in found.items()}


def _shown(origin: str) -> str:
    name = origin if len(origin) <= MAX_NAME_CHARACTERS else origin[: MAX_NAME_CHARACTERS - 1] + "…"
    return printable(name)


def _tokens_a_word(source: str, count_tokens: CountTokens) -> float:
    """Returns the tokens for each word or punctuation mark of a source's beginning, with two decimals."""
    end, count = len(source), 0
    for count, match in enumerate(_WORD_OR_MARK.finditer(source), 1):
        if count == COUNTED_WORDS:
            end = match.end()
            break
    return round(count_tokens(source[:end]) / max(count, 1), 2)
