"""Sampling with temperature, top-k and top-p, in that order, as in transformers.

Top-k: Fan et al. 2018 (https://arxiv.org/abs/1805.04833). Top-p (nucleus sampling): Holtzman et al. 2020
(https://arxiv.org/abs/1904.09751).
"""

import numpy as np

from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.rules import allowed_logits, banned_in, forced_tokens
from slimseq.inference.decoding.search import Ids, Scores, StepScores
from slimseq.models_store.generation import GenerationOptions


class SamplingSearch(GreedySearch):
    """Sampling, with one row an input. Each row has its own random generator, so outputs are batch-invariant.

    The state of an input is a pair: its options and its generator.
    """

    def _new_state(self, options: GenerationOptions) -> tuple[GenerationOptions, np.random.Generator]:
        return options, np.random.default_rng(options.seed)

    def _choose(self, scores: StepScores) -> Ids:
        forced = forced_tokens(self._rows.positions, self._rules, self._configuration)
        if forced is None:
            return np.array([self._sample(scores, row) for row in range(len(self))], dtype=np.int64)
        # -1 stands for no forced token.
        free_rows = np.nonzero(forced < 0)[0].tolist()
        forced[free_rows] = [self._sample(scores, row) for row in free_rows]
        return forced

    def _sample(self, scores: StepScores, row: int) -> int:
        rows, rules, (options, generator) = self._rows, self._rules, self._states[row]
        banned = banned_in(row, rows.ids, rows.positions, rules, self._configuration)
        logits = allowed_logits(scores, rows.ids, rows.positions, rules, row, banned)
        tokens, probabilities = most_probable(logits / np.float32(options.temperature), options.top_k, options.top_p)
        sums = np.cumsum(probabilities, dtype=np.float64)
        # Inverse transform sampling. The random number times the sum may be rounded up to the sum itself.
        place = np.searchsorted(sums, generator.random() * sums[-1], side="right")
        return int(tokens[min(int(place), len(tokens) - 1)])


def most_probable(logits: Scores, top_k: int, top_p: float) -> tuple[Ids, Scores]:
    """Returns the tokens to sample from and their unnormalized probabilities. The most probable token is always kept.

    Logits are `(vocabulary,)`, float32, -inf for forbidden tokens. A `top_k` of 0 keeps all.
    """
    tokens = np.arange(len(logits))
    if 0 < top_k < len(logits):
        tokens = np.argpartition(logits, -top_k)[-top_k:]
    if top_p < 1 or len(tokens) < len(logits):
        tokens = tokens[np.argsort(-logits[tokens], kind="stable")]
    exponentials = np.exp(logits[tokens] - logits.max())
    if top_p < 1:
        # A token is kept while those before it, which are more probable, have less than `top_p` together.
        sum_before = np.cumsum(exponentials) - exponentials
        # At least one token, also where `top_p` times the sum is 0 in float32.
        count = max(int((sum_before < top_p * exponentials.sum()).sum()), 1)
        tokens, exponentials = tokens[:count], exponentials[:count]
    return tokens, exponentials
