"""The best continuations of a batch of beams, found without sorting a vocabulary.

At small widths a search over the vocabulary costs as much as the model: it reads the logits three times here (largest,
sum of exponentials, folded maxima) and works on a few hundred candidates from then on.
"""

from dataclasses import dataclass

import numpy as np

from models_store.decoding.stepper import Ids, Scores

# Columns that are folded into one maximum: more make the shortlist longer, fewer the list of maxima.
FOLD = 32


@dataclass(frozen=True)
class Continuations:
    """For each input, best first: which beam goes on, with which token, and the sum of log-probabilities then.

    All are `(inputs, count)`.
    """

    beams: Ids
    tokens: Ids
    scores: Scores


def log_normaliser(logits: Scores) -> Scores:
    """Returns the logarithm of the sum of exponentials of each row, `(rows,)`, float32."""
    largest = logits.max(axis=-1)
    shifted = logits - largest[:, None]
    np.exp(shifted, out=shifted)
    return np.asarray(largest + np.log(shifted.sum(axis=-1)), dtype=np.float32)


def best_continuations(logits: Scores, offsets: Scores, count: int) -> Continuations:
    """Returns the `count` best continuations of each input.

    The highest scores of a row lie behind its highest folded maxima, so only what is behind those is looked at.

    Args:
        logits: `(inputs * beams, vocabulary)`, float32; a token that may not come has -inf.
        offsets: what to add to a beam's logits, `(inputs, beams)`, float32: its score less its normaliser.
        count: how many, at most beams times vocabulary.
    """
    inputs, beams = offsets.shape
    vocabulary = logits.shape[1]
    columns = vocabulary // FOLD
    rows = np.arange(inputs)[:, None]
    if beams * columns <= count:
        places = np.broadcast_to(np.arange(beams * vocabulary), (inputs, beams * vocabulary))
    else:
        folded = columns * FOLD
        peaks = logits[:, :folded].reshape(inputs, beams, FOLD, columns).max(axis=2) + offsets[:, :, None]
        behind, column = np.divmod(_highest(peaks.reshape(inputs, beams * columns), count), columns)
        members = column[:, None, :] + (np.arange(FOLD) * columns)[:, None]
        places = (behind[:, None, :] * vocabulary + members).reshape(inputs, FOLD * count)
        if folded < vocabulary:
            rest = (np.arange(beams)[:, None] * vocabulary + np.arange(folded, vocabulary)).reshape(-1)
            places = np.concatenate([places, np.broadcast_to(rest, (inputs, len(rest)))], axis=1)
    flat = logits.reshape(inputs, beams * vocabulary)
    totals = flat[rows, places] + offsets[rows, places // vocabulary]
    some = _highest(totals, count)
    chosen = some[rows, best_first(totals[rows, some])]
    places = places[rows, chosen]
    return Continuations(places // vocabulary, places % vocabulary, totals[rows, chosen])


def best_first(scores: Scores) -> Ids:
    """Returns the order of each row's scores, the highest first."""
    return np.argsort(-scores, axis=1, kind="stable")


def _highest(scores: Scores, count: int) -> Ids:
    """Returns the positions of the `count` highest scores of each row, in any order."""
    return np.argpartition(scores, -count, axis=1)[:, -count:]
