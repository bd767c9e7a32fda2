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

    Args:
        logits: `(rows, vocabulary)`, or `(rows, candidates)`, float32.
        top_logits: the highest logits of each row, best first, `(rows, top)`, float32.
        top_tokens: their tokens, `(rows, top)`, int64.
        log_sum_exp: logsumexp of the logits, `(rows,)`, float32.
        candidates: the tokens of each row's logits, `(rows, candidates)`; None if logits are those of all tokens.
        vocabulary: number of all tokens. It stands for no candidate.
    """

    logits: Scores
    top_logits: Scores
    top_tokens: Ids
    log_sum_exp: Scores
    candidates: Ids | None = None
    vocabulary: int = 0

    def of_tokens(self, tokens: Ids) -> Scores:
        """Returns the logit of one token of each row, `(rows,)`."""
        if self.candidates is None:
            return self.logits[np.arange(len(tokens)), tokens]
        logits: Scores = np.where(self.candidates == tokens[:, None], self.logits, np.float32(-np.inf)).max(axis=1)
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
    order: Ids = (-scores).argsort(axis=1, kind="stable")
    return order


def log_sum_exp_of(logits: Scores) -> Scores:
    """Returns the logsumexp of each row, `(rows,)`, float32."""
    largest = logits.max(axis=-1)
    shifted = logits - largest[:, None]
    np.exp(shifted, out=shifted)
    return np.asarray(largest + np.log(shifted.sum(axis=-1)), dtype=np.float32)
