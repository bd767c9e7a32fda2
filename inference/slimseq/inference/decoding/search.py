"""The protocol of a search method: the scores that it reads in each step, and the tables of arrays of its rows.

Inputs join and leave at any time; each step chooses a token for every row. Its scores are logits, the highest logits
and their tokens, and the logsumexp. Where a row has a shortlist, its logits are those of its candidates alone; all
other tokens have -inf. A table is a dataclass of arrays with the same first axis, rows: the rows of all fields are
concatenated or moved at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import FinishReason, GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Scores = NDArray[np.float32]
Ids = NDArray[np.int64]
Table = TypeVar("Table", bound="DataclassInstance")


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


@dataclass
class Advance:
    """The result of one step: the tokens that are now final, `(input, token)`, and the inputs that have ended.

    `origins` has the beam that each beam continues, `(inputs, num_beams)`; None means that the order is unchanged.
    """

    new_tokens: list[tuple[int, int]] = field(default_factory=list)
    finished: dict[int, GeneratedSequence] = field(default_factory=dict)
    origins: Ids | None = None


class Search(Protocol):
    """Searches for several inputs at once. Each has `num_beams` consecutive rows.

    `top` is the number of best tokens that `advance` needs.
    """

    num_beams: int
    top: int

    def __len__(self) -> int:
        """The number of inputs."""

    def join(self, options: Sequence[GenerationOptions], is_streamed: Sequence[bool]) -> None:
        """Appends inputs, each with its own options.

        `advance` reports tokens of streamed inputs as soon as they are final, those of others at their end.
        """

    def keep(self, order: Ids) -> None:
        """Makes input `i` the former input `order[i]`. Inputs not in `order` leave."""

    def next_tokens(self) -> Ids:
        """Returns the decoder's next input token of each row, `(rows,)`."""

    def positions(self) -> Ids:
        """Returns the position of that token, `(rows,)`."""

    def advance(self, scores: StepScores) -> Advance:
        """Chooses the next token of every row."""

    def cut(self, row: int) -> GeneratedSequence:
        """Returns an unfinished input's output so far, with finish reason `cancelled`."""


def token_mean(total: float, ids: Sequence[int]) -> float | None:
    """Returns the mean of a sequence's log-probabilities, given their sum. It is None without ids.

    It is None for a sum that is not finite too, as that of a model whose weights are damaged. The sum of a sequence
    whose tokens are all certain may be above 0 by its last digit.
    """
    return min(total / len(ids), 0.0) if ids and math.isfinite(total) else None


def finish_reason(ids: list[int], max_new_tokens: int, configuration: ModelConfiguration) -> FinishReason:
    """Returns why a row ended. A forced end token at the last position counts as `length`."""
    ended = bool(ids) and ids[-1] == configuration.eos_id
    was_forced = configuration.forced_eos_id is not None and len(ids) >= max_new_tokens
    return "eos" if ended and not was_forced else "length"


def concatenate_rows(first: Table, second: Table) -> Table:
    """Returns the rows of both. A shorter last axis is padded with zeros."""
    names = _names(type(first))
    return type(first)(*(_concatenated(getattr(first, name), getattr(second, name)) for name in names))


def keep_rows(table: Table, order: Ids) -> Table:
    """Makes row `i` the former row `order[i]`, in place, and returns the first `len(order)` rows; `order[i] >= i`.

    Usually one row or two move.
    """
    columns = [getattr(table, name) for name in _names(type(table))]
    for target, source in enumerate(order.tolist()):
        if target == source:
            continue
        for values in columns:
            values[target] = values[source]
    return type(table)(*(values[: len(order)] for values in columns))


@cache
def _names(kind: "type[DataclassInstance]") -> list[str]:
    return [entry.name for entry in fields(kind)]


def _concatenated(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.generic]:
    if first.ndim == 1 or first.shape[-1] == second.shape[-1]:
        return np.concatenate([first, second])
    # `np.pad` takes longer.
    width = max(first.shape[-1], second.shape[-1])
    joined = np.zeros((len(first) + len(second), *first.shape[1:-1], width), dtype=first.dtype)
    joined[: len(first), ..., : first.shape[-1]] = first
    joined[len(first) :, ..., : second.shape[-1]] = second
    return joined
