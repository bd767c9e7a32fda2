"""Beam search with transformers' rules, so that the same weights give the same token ids.

The rules are those of `GenerationMixin._beam_search` (transformers 4.57): twice as many candidates as beams,
finished ones scored by log-probability over length to the power of the length penalty, and an end once the best
open beam cannot beat the worst finished one. Rows that have ended are frozen, so that a row's result does not
depend on its batch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models_store.configuration import ModelConfiguration
from models_store.decoding.constraints import constrain
from models_store.decoding.continuations import best_continuations, best_first, log_normaliser
from models_store.decoding.stepper import Ids, Scores, Stepper, finish_reason_of
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Sequenced, Watch

NEVER = np.float32(-1.0e9)


@dataclass
class Beams:
    """Hypotheses of every input: `ids` `(inputs, beams, length)`, `scores` `(inputs, beams)`.

    `lengths` counts each one's new tokens; `is_finished` is of use for finished hypotheses alone.
    """

    ids: Ids
    scores: Scores
    lengths: Ids
    is_finished: NDArray[np.bool_]

    def where(self, rows: NDArray[np.bool_], other: "Beams") -> "Beams":
        """Returns these hypotheses for the inputs where `rows` says so, and the others' elsewhere."""
        keep = rows[:, None]
        return Beams(
            np.where(keep[:, :, None], self.ids, other.ids),
            np.where(keep, self.scores, other.scores),
            np.where(keep, self.lengths, other.lengths),
            np.where(keep, self.is_finished, other.is_finished),
        )

    def take(self, chosen: Ids) -> "Beams":
        """Returns the hypotheses at `chosen` `(inputs, n)`, for each input its own."""
        rows = np.arange(len(chosen))[:, None]
        return Beams(
            self.ids[rows, chosen],
            self.scores[rows, chosen],
            self.lengths[rows, chosen],
            self.is_finished[rows, chosen],
        )


def beam_search(
    stepper: Stepper, inputs: int, options: GenerationOptions, configuration: ModelConfiguration, watch: Watch
) -> list[Sequenced]:
    """Generates the best hypothesis of each input.

    Args:
        stepper: the batch, `num_beams` rows for each input.
        inputs: how many inputs it has.
        options: beams, penalties, limits and rules.
        configuration: special ids.
        watch: told a row's tokens once the search has ended.

    Returns:
        One sequence an input.
    """
    beams, width = options.num_beams, options.max_new_tokens + 1
    every = np.arange(inputs)[:, None]
    running = _blank(inputs, beams, width, configuration)
    # Only the first beam counts at the start: all hold the same.
    running.scores[:, 0] = 0
    finished = _blank(inputs, beams, width, configuration)
    can_improve = np.ones(inputs, dtype=bool)
    is_told = np.zeros(inputs, dtype=bool)
    was_cancelled = False
    for length in range(1, width):
        if watch.is_cancelled is not None and watch.is_cancelled():
            was_cancelled = True
            break
        history = running.ids[:, :, :length].reshape(inputs * beams, length)
        logits = stepper.step(history[:, -1])
        normaliser = log_normaliser(logits)
        constrain(logits, history, options, configuration, certain=normaliser)
        candidates, origin = _candidates(running, logits, normaliser, length)
        is_last = candidates.ids[:, :, length] == configuration.eos_id
        if length == options.max_new_tokens:
            is_last[:] = True
        chosen = best_first(np.where(is_last, candidates.scores + NEVER, candidates.scores))[:, :beams]
        finished = _keep_best(finished, candidates, is_last, can_improve, length, options)
        running = candidates.take(chosen)
        running.scores = np.where(is_last[every, chosen], running.scores + NEVER, running.scores)
        can_improve &= _may_improve(running, finished, length, options)
        is_decided = ~can_improve | (finished.is_finished.all(axis=1) & options.early_stopping)
        _tell(finished, is_decided & ~is_told, watch)
        is_told |= is_decided
        if is_last.all() or is_decided.all():
            break
        rows = origin[every, chosen] + every * beams
        stepper.reorder(rows.reshape(-1))
    best = finished.where(is_told, running) if was_cancelled else finished
    _tell(best, ~is_told, watch)
    return _outputs(best, ~is_told & was_cancelled, options, configuration)


def _blank(inputs: int, beams: int, width: int, configuration: ModelConfiguration) -> Beams:
    ids = np.full((inputs, beams, width), configuration.pad_id, dtype=np.int64)
    ids[:, :, 0] = configuration.decoder_start_id
    return Beams(
        ids,
        np.full((inputs, beams), NEVER, dtype=np.float32),
        np.zeros((inputs, beams), dtype=np.int64),
        np.zeros((inputs, beams), dtype=bool),
    )


def _candidates(running: Beams, logits: Scores, normaliser: Scores, length: int) -> tuple[Beams, Ids]:
    """Returns the best `2 * beams` continuations of each input, best first, and the beam each continues."""
    offsets = running.scores - normaliser.reshape(running.scores.shape)
    found = best_continuations(logits, offsets, 2 * running.scores.shape[1])
    candidates = running.take(found.beams)
    candidates.scores = found.scores
    candidates.ids[:, :, length] = found.tokens
    candidates.lengths = np.full_like(candidates.lengths, length)
    return candidates, found.beams


def _keep_best(
    finished: Beams,
    candidates: Beams,
    is_last: NDArray[np.bool_],
    can_improve: NDArray[np.bool_],
    length: int,
    options: GenerationOptions,
) -> Beams:
    """Returns the best finished hypotheses of those held and those of the first `beams` candidates that end now."""
    beams = options.num_beams
    just_finished = is_last.copy()
    just_finished[:, beams:] = False
    scores = candidates.scores / np.float32(length**options.length_penalty)
    is_closed = ~can_improve
    if options.early_stopping:
        is_closed = is_closed | finished.is_finished.all(axis=1)
    scores = scores + is_closed[:, None] * NEVER + ~just_finished * NEVER
    merged = Beams(
        np.concatenate([finished.ids, candidates.ids], axis=1),
        np.concatenate([finished.scores, scores.astype(np.float32)], axis=1),
        np.concatenate([finished.lengths, candidates.lengths], axis=1),
        np.concatenate([finished.is_finished, just_finished], axis=1),
    )
    return merged.take(best_first(merged.scores)[:, :beams])


def _may_improve(running: Beams, finished: Beams, length: int, options: GenerationOptions) -> NDArray[np.bool_]:
    """Whether each input's best open beam could still beat its worst finished one, at the length it has now."""
    best_open = running.scores[:, 0] / np.float32(length**options.length_penalty)
    worst = np.where(finished.is_finished, finished.scores.min(axis=1, keepdims=True), NEVER)
    return np.asarray((best_open[:, None] > worst).any(axis=1))


def _tell(beams: Beams, rows: NDArray[np.bool_], watch: Watch) -> None:
    """Tells the best hypothesis of each of the rows, token by token."""
    if watch.on_token is not None:
        for row in np.nonzero(rows)[0]:
            for token in _best_ids(beams, int(row)):
                watch.on_token(int(row), token)


def _best_ids(beams: Beams, row: int) -> list[int]:
    return [int(token) for token in beams.ids[row, 0, 1 : beams.lengths[row, 0] + 1]]


def _outputs(
    beams: Beams, was_cancelled: NDArray[np.bool_], options: GenerationOptions, configuration: ModelConfiguration
) -> list[Sequenced]:
    sequences = []
    for row in range(beams.ids.shape[0]):
        ids = _best_ids(beams, row)
        reason = finish_reason_of(ids, options, configuration)
        sequences.append(Sequenced(ids, "cancelled" if was_cancelled[row] else reason))
    return sequences
