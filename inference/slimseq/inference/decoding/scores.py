"""What a search sees of one step: each row's logits, the best of them, and their normalisers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class StepScores:
    """One step's outcome for all rows.

    Args:
        logits: `(rows, vocabulary)`, float32.
        top_logits: the highest of each row, best first, `(rows, top)`, float32.
        top_tokens: which tokens they are, `(rows, top)`, int64.
        log_sum_exp: logarithm of the sum of exponentials, `(rows,)`, float32; may be empty where no search asks.
    """

    logits: Scores
    top_logits: Scores
    top_tokens: Ids
    log_sum_exp: Scores


def scores_of(logits: Scores, top: int, *, needs_log_sum_exp: bool) -> StepScores:
    """Finds the best tokens and the normalisers of logits, for graphs that don't.

    Args:
        logits: `(rows, vocabulary)`, float32.
        top: how many tokens a row.
        needs_log_sum_exp: whether normalisers are wanted.
    """
    top_tokens = highest(logits, top)
    log_sum_exp = log_normaliser(logits) if needs_log_sum_exp else np.empty(0, dtype=np.float32)
    return StepScores(logits, np.take_along_axis(logits, top_tokens, axis=1), top_tokens, log_sum_exp)


def highest(scores: Scores, count: int) -> Ids:
    """Returns the positions of the `count` highest scores of each row, best first."""
    if count >= scores.shape[1]:
        return best_first(scores)
    some = np.argpartition(scores, -count, axis=1)[:, -count:]
    return np.take_along_axis(some, best_first(np.take_along_axis(scores, some, axis=1)), axis=1)


def best_first(scores: Scores) -> Ids:
    """Returns the order of each row's scores, the highest first."""
    order: Ids = (-scores).argsort(axis=1, kind="stable")
    return order


def log_normaliser(logits: Scores) -> Scores:
    """Returns the logarithm of the sum of exponentials of each row, `(rows,)`, float32."""
    largest = logits.max(axis=-1)
    shifted = logits - largest[:, None]
    np.exp(shifted, out=shifted)
    return np.asarray(largest + np.log(shifted.sum(axis=-1)), dtype=np.float32)
