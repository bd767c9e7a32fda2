"""The protocol of a search method (`Search`), and what greedy search, beam search and sampling share.

The engine calls a search once a decoder step. The search reads the step's scores (`StepScores`), chooses a token for
every row, and returns what is final now (`Advance`). Inputs join and leave between steps.

A search keeps its state in tables: dataclasses of arrays whose first axis is the same. `concatenate_rows` and
`keep_rows` change all arrays of a table at once.
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

# Up to so many best scores are found one after the other. `np.argpartition` takes longer for them: 560 instead of 28
# microseconds for 8 of 32,000 scores of which most are -inf, as with a shortlist.
FEW = 8


@dataclass(frozen=True)
class StepScores:
    """The scores of one step for all rows. Scores are float32, tokens int64.

    Attributes:
        logits: of all tokens, `(rows, vocabulary)`; or of the `candidates` of each row alone, `(rows, candidates)`; or
            `(rows, 0)` where no row may need others than the highest.
        top_logits: the highest logits of each row, `(rows, top)`, best first.
        top_tokens: the tokens of these logits.
        log_sum_exp: the logsumexp of each row, `(rows,)`.
        candidates: the tokens that a row's shortlist allows; all others have -inf. Shorter rows are filled up with
            `vocabulary`, which is no token. None without shortlists.
        vocabulary: the number of all tokens, where there are candidates.
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
        if self.candidates is None:
            known_tokens, known_logits = self.top_tokens, self.top_logits
        else:
            known_tokens, known_logits = self.candidates, self.logits
        logits: Scores = np.where(known_tokens == tokens[:, None], known_logits, np.float32(-np.inf)).max(axis=1)
        return logits

    def of_row(self, row: int) -> Scores:
        """Returns the logits of all tokens of a row, in an array of its own."""
        if self.candidates is None:
            copied: Scores = self.logits[row].copy()
            return copied
        # One place more than tokens, for what fills up shorter rows.
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
    if count <= FEW:
        found = _highest_in_turns(scores, count)
        # Where all others are -inf, the highest of them is the same one in each turn.
        if (np.take_along_axis(scores, found, axis=1) > -np.inf).all():
            return found
    unsorted = np.argpartition(scores, -count, axis=1)[:, -count:]
    order = best_first(np.take_along_axis(scores, unsorted, axis=1))
    return np.take_along_axis(unsorted, order, axis=1)


def _highest_in_turns(scores: Scores, count: int) -> Ids:
    """Returns the same as `highest`, by taking the highest one after the other; of equal ones the first."""
    rest = scores.copy()
    all_rows = np.arange(len(scores))
    found = np.empty((len(scores), count), dtype=np.int64)
    for rank in range(count):
        best = rest.argmax(axis=1)
        found[:, rank] = best
        rest[all_rows, best] = -np.inf
    return found


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
    """The result of one step.

    Attributes:
        new_tokens: tokens that are now final, each `(index of the input, token)`, in the order of the output.
        finished: the outputs of inputs that have ended, by the input's index.
        origins: the beam that each beam continues, `(inputs, num_beams)`; None means that the order is unchanged.
    """

    new_tokens: list[tuple[int, int]] = field(default_factory=list)
    finished: dict[int, GeneratedSequence] = field(default_factory=dict)
    origins: Ids | None = None


class Search(Protocol):
    """Searches for several inputs at once. Each has `num_beams` consecutive rows.

    `top` is the number of best tokens that `advance` gets for each row. If rules forbid `spare` of them, the others are
    enough.
    """

    num_beams: int
    top: int
    spare: int

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

    def cut(self, index: int) -> GeneratedSequence:
        """Returns the output so far of the input with an index, with finish reason `cancelled`."""


def token_mean(total: float, ids: Sequence[int]) -> float | None:
    """Returns the mean of a sequence's log-probabilities, given their sum.

    It is None without ids, and for a sum that is not finite, as of a model whose weights are damaged.
    """
    if not ids or not math.isfinite(total):
        return None
    # Where all tokens are certain, rounding may lift the sum above 0.
    return min(total / len(ids), 0.0)


def finish_reason(ids: list[int], max_new_tokens: int, configuration: ModelConfiguration) -> FinishReason:
    """Returns why a row ended. A forced end token at the last position counts as `length`."""
    has_ended = bool(ids) and ids[-1] == configuration.eos_id
    was_forced = configuration.forced_eos_id is not None and len(ids) >= max_new_tokens
    return "eos" if has_ended and not was_forced else "length"


def concatenate_rows(first: Table, second: Table) -> Table:
    """Returns the rows of both. A shorter last axis is padded with zeros."""
    names = _field_names(type(first))
    return type(first)(*(_concatenate(getattr(first, name), getattr(second, name)) for name in names))


def keep_rows(table: Table, order: Ids) -> Table:
    """Makes row `i` the former row `order[i]`, in place, and returns the first `len(order)` rows; `order[i] >= i`.

    Rows are copied one by one, since usually only one or two move.
    """
    columns = [getattr(table, name) for name in _field_names(type(table))]
    for target, source in enumerate(order.tolist()):
        if target == source:
            continue
        for values in columns:
            values[target] = values[source]
    return type(table)(*(values[: len(order)] for values in columns))


@cache
def _field_names(table_type: "type[DataclassInstance]") -> list[str]:
    return [entry.name for entry in fields(table_type)]


def _concatenate(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.generic]:
    if first.ndim == 1 or first.shape[-1] == second.shape[-1]:
        return np.concatenate([first, second])
    # Padding the shorter one with `np.pad` takes longer.
    width = max(first.shape[-1], second.shape[-1])
    joined = np.zeros((len(first) + len(second), *first.shape[1:-1], width), dtype=first.dtype)
    joined[: len(first), ..., : first.shape[-1]] = first
    joined[len(first) :, ..., : second.shape[-1]] = second
    return joined
