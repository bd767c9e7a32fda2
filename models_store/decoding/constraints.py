"""Rules that forbid or force tokens, applied to scores in the order in which transformers applies them."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models_store.configuration import ModelConfiguration
from models_store.decoding.stepper import Ids, Scores
from models_store.manifest import GenerationOptions


def constrain(
    scores: Scores,
    ids: Ids,
    options: GenerationOptions,
    configuration: ModelConfiguration,
    certain: Scores | float = 0.0,
) -> None:
    """Applies every rule to the next token's scores, in place.

    Args:
        scores: logits or log-probabilities, `(rows, vocabulary)`, float32.
        ids: what the rows hold so far, the decoder's start token first, `(rows, length)`.
        options: which rules are on.
        configuration: the ids that they speak of.
        certain: what stands for a probability of 1, for all rows or `(rows,)`: 0, or the logits' normalisers.
    """
    new_tokens = ids.shape[1] - 1
    if options.no_repeat_ngram_size:
        forbid_repeated_ngrams(scores, ids, options.no_repeat_ngram_size)
    if new_tokens < options.min_new_tokens:
        scores[:, configuration.eos_id] = -np.inf
    if new_tokens == 0 and configuration.forced_bos_id is not None:
        force(scores, configuration.forced_bos_id, certain)
    if new_tokens == options.max_new_tokens - 1 and configuration.forced_eos_id is not None:
        force(scores, configuration.forced_eos_id, certain)


def forbid_repeated_ngrams(scores: Scores, ids: Ids, size: int) -> None:
    """Forbids, in place, each token that would complete an n-gram of `size` that its row already holds."""
    length = ids.shape[1]
    if length < size:
        return
    if size == 1:
        np.put_along_axis(scores, ids, -np.inf, axis=1)
        return
    # Every earlier window of size - 1 tokens, against the last one.
    windows = sliding_window_view(ids, size - 1, axis=1)[:, :-1]
    is_same = (windows == ids[:, None, length - size + 1 :]).all(axis=2)
    rows, starts = np.nonzero(is_same)
    scores[rows, ids[rows, starts + size - 1]] = -np.inf


def force(scores: Scores, token: int, certain: Scores | float) -> None:
    """Leaves one token possible in every row, in place, with the score that stands for certainty."""
    scores[:] = -np.inf
    scores[:, token] = certain
