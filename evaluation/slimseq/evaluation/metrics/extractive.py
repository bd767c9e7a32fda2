"""How extractive and how long summaries are: copy rate, density and length ratio. They describe, and do not rank.

Copy rate and density are coverage and density of extractive fragments (Grusky, Naaman and Artzi 2018,
https://aclanthology.org/N18-1065): the fragments are found greedily, each the longest run of words of the document that
begins at the next word of the summary.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from slimseq.evaluation.metrics import MetricStatistics, Statistics, mean_of

EXTRACTIVE_METRICS = ("copy_rate", "density", "length_ratio")
SIGNATURE = "case:lc|words:unicode|fragments:greedy"
_WORD = re.compile(r"\w+")


def describe(documents: Sequence[str], summaries: Sequence[str], targets: Sequence[str]) -> list[MetricStatistics]:
    """Describes summaries.

    Args:
        documents: the sources.
        summaries: one output a document.
        targets: the expected summaries.

    Returns:
        `copy_rate`: share of the words that are in extractive fragments, in percent, mean over the summaries.
        `density`: mean length of the fragment that a word is in, in words, mean over the summaries.
        `length_ratio`: words of all summaries for each word of all targets.

    Raises:
        ValueError: their numbers differ.
    """
    copied, dense, lengths = [], [], []
    for document, summary, target in zip(documents, summaries, targets, strict=True):
        words = _words(summary)
        fragments = list(fragment_lengths(_words(document), words))
        count = max(len(words), 1)
        copied.append([100.0 * sum(fragments) / count, 1.0])
        dense.append([sum(length * length for length in fragments) / count, 1.0])
        lengths.append([float(len(words)), float(len(_words(target)))])
    return [
        MetricStatistics("copy_rate", SIGNATURE, np.array(copied), mean_of),
        MetricStatistics("density", SIGNATURE, np.array(dense), mean_of),
        MetricStatistics("length_ratio", SIGNATURE, np.array(lengths), _ratio),
    ]


def fragment_lengths(document: Sequence[str], summary: Sequence[str]) -> Iterator[int]:
    """Yields the lengths of a summary's extractive fragments, in words. The time is linear in both lengths."""
    longest = _longest_runs(document, summary)
    place = 0
    while place < len(summary):
        if longest[place]:
            yield longest[place]
        place += max(longest[place], 1)


@dataclass
class _State:
    """A state of the automaton: the length of its longest run, its suffix link, and the next states by word."""

    length: int
    link: int = -1
    following: dict[str, int] = field(default_factory=dict)


def _longest_runs(document: Sequence[str], summary: Sequence[str]) -> list[int]:
    """Returns for each place in the summary the length of the longest run of the document that begins there."""
    # Runs that begin at a place are runs that end there in the reversed texts.
    states = _suffix_automaton(document[::-1])
    found = []
    state = length = 0
    for word in reversed(summary):
        while state and word not in states[state].following:
            state = states[state].link
            length = states[state].length
        if word in states[state].following:
            state = states[state].following[word]
            length += 1
        found.append(length)
    return found[::-1]


def _suffix_automaton(words: Sequence[str]) -> list[_State]:
    """Returns the automaton of all runs of words (Blumer et al. 1985, doi:10.1016/0304-3975(85)90157-4)."""
    states = [_State(0)]
    last = 0
    for word in words:
        added = len(states)
        states.append(_State(states[last].length + 1))
        state, last = last, added
        while state >= 0 and word not in states[state].following:
            states[state].following[word] = added
            state = states[state].link
        if state < 0:
            states[added].link = 0
            continue
        target = states[state].following[word]
        if states[state].length + 1 == states[target].length:
            states[added].link = target
            continue
        copy = len(states)
        states.append(_State(states[state].length + 1, states[target].link, dict(states[target].following)))
        while state >= 0 and states[state].following.get(word) == target:
            states[state].following[word] = copy
            state = states[state].link
        states[target].link = states[added].link = copy
    return states


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _ratio(sums: Statistics) -> Statistics:
    ratio: Statistics = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
    return ratio
