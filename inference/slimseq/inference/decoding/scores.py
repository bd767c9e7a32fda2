"""The scores of one decoder step: logits, the highest logits and their tokens, and the logsumexp.

Where a row has a shortlist, its logits are those of its candidates alone; all other tokens have -inf.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class StepScores:
    """The scores of one step for all rows.

    `logits` are those of all tokens, `(rows, vocabulary)`, or of the `candidates` of each row, `(rows, candidates)`, or
    `(rows, 0)` where no row may need others than the highest.
    The highest ones and their tokens are `(rows, top)`, best first; the logsumexp is `(rows,)`. Scores are float32,
    tokens int64. `vocabulary`, the number of all tokens, stands for no candidate.
    """

    logits: Scores
    top_logits: Scores
    top_tokens: Ids
    log_sum_exp: Scores
    candidates: Ids | None = None
    vocabulary: int = 0

    def of_tokens(self, tokens: Ids) -> Scores:
        """Returns the logit of one token of each row, `(rows,)`."""
        if self.candidates is None and self.logits.size:
            return self.logits[np.arange(len(tokens)), tokens]
        known = (self.top_tokens, self.top_logits) if self.candidates is None else (self.candidates, self.logits)
        logits: Scores = np.where(known[0] == tokens[:, None], known[1], np.float32(-np.inf)).max(axis=1)
        return logits

    def of_row(self, row: int) -> Scores:
        """Returns the logits of all tokens of a row, in an array of its own."""
        if self.candidates is None:
            copied: Scores = self.logits[row].copy()
            return copied
        whole = np.full(self.vocabulary + 1, -np.inf, dtype=np.float32)
        whole[self.candidates[row]] = self.logits[row]
        return whole[:-1]


def scores_of(logits: Scores, top: int) -> StepScores:
    """Computes the `top` highest logits and the logsumexp, for graphs that return logits `(rows, vocabulary)` alone."""
    top_tokens = highest(logits, top)
    return StepScores(logits, np.take_along_axis(logits, top_tokens, axis=1), top_tokens, log_sum_exp_of(logits))


def highest(scores: Scores, count: int) -> Ids:
    """Returns the indices of the `count` highest scores of each row, best first."""
    if count >= scores.shape[1]:
        return best_first(scores)
    some = np.argpartition(scores, -count, axis=1)[:, -count:]
    return np.take_along_axis(some, best_first(np.take_along_axis(scores, some, axis=1)), axis=1)


def best_first(scores: Scores) -> Ids:
    """Returns the indices that sort each row's scores, highest first; ties keep their order."""
    return (-scores).argsort(axis=1, kind="stable")


def log_sum_exp_of(logits: Scores) -> Scores:
    """Returns the logsumexp of each row, `(rows,)`, float32."""
    largest = logits.max(axis=-1)
    shifted = logits - largest[:, None]
    np.exp(shifted, out=shifted)
    return np.asarray(largest + np.log(shifted.sum(axis=-1)), dtype=np.float32)
