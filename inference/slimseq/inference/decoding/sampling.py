"""Sampling: each token is drawn, from all of them, from the likeliest few, or from those that make up a share.

Top-k is of Fan et al. 2018 (https://arxiv.org/abs/1805.04833), top-p of Holtzman et al. 2020
(https://arxiv.org/abs/1904.09751); the order is transformers': temperature, then top-k, then top-p.
"""

from collections.abc import Sequence

import numpy as np

from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.rules import allowed_logits, banned_in
from slimseq.inference.decoding.scores import Ids, Scores, StepScores
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.manifest import GenerationOptions


class SamplingSearch(GreedySearch):
    """One row an input, each with random numbers of its own, so that a row is the same alone and in any batch."""

    def __init__(self, configuration: ModelConfiguration) -> None:
        super().__init__(configuration)
        self._options: list[GenerationOptions] = []
        self._draws: list[np.random.Generator] = []

    def join(self, options: Sequence[GenerationOptions]) -> None:
        """Adds inputs, as `Search.join` says."""
        super().join(options)
        self._options += options
        self._draws += [np.random.default_rng(each.seed) for each in options]

    def keep(self, order: Ids) -> None:
        """Keeps inputs, as `Search.keep` says."""
        super().keep(order)
        self._options = [self._options[row] for row in order]
        self._draws = [self._draws[row] for row in order]

    def _chosen(self, scores: StepScores) -> Ids:
        """Draws each row's token."""
        return np.array([self._drawn(scores, row) for row in range(len(self))], dtype=np.int64)

    def _drawn(self, scores: StepScores, row: int) -> int:
        rows, rules, options = self._rows, self._rules, self._options[row]
        if (forced := self._forced(row)) is not None:
            return forced
        banned = banned_in(row, rows.ids, rows.positions, rules, self._configuration)
        logits = allowed_logits(scores, rows.ids, rows.positions, rules, row, banned)
        tokens, probabilities = likeliest(logits / np.float32(options.temperature), options.top_k, options.top_p)
        sums = np.cumsum(probabilities, dtype=np.float64)
        place = np.searchsorted(sums, self._draws[row].random() * sums[-1], side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])

    def _forced(self, row: int) -> int | None:
        position, configuration = int(self._rows.positions[row]), self._configuration
        if position == 0 and configuration.forced_bos_id is not None:
            return configuration.forced_bos_id
        is_last = position == int(self._rules.max_new_tokens[row]) - 1
        return configuration.forced_eos_id if is_last else None


def likeliest(logits: Scores, top_k: int, top_p: float) -> tuple[Ids, Scores]:
    """Returns the tokens that a draw is from, and their probabilities, not normalised; the likeliest is always there.

    Args:
        logits: `(vocabulary,)`, float32, -inf for what may not come.
        top_k: how many tokens at most; 0 for all.
        top_p: the share of probability that they make up at least.
    """
    tokens = np.arange(len(logits))
    if 0 < top_k < len(logits):
        tokens = np.argpartition(logits, -top_k)[-top_k:]
    if top_p < 1 or len(tokens) < len(logits):
        tokens = tokens[np.argsort(-logits[tokens], kind="stable")]
    exponentials = np.exp(logits[tokens] - logits.max())
    if top_p < 1:
        before = np.cumsum(exponentials) - exponentials
        # The first is always kept, however small the share is in float32.
        count = max(int((before < top_p * exponentials.sum()).sum()), 1)
        tokens, exponentials = tokens[:count], exponentials[:count]
    return tokens, exponentials
