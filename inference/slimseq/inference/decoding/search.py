"""The protocol of a search method, and the tables of arrays that its rows are kept in.

Inputs join and leave at any time; each step chooses a token for every row. A table is a dataclass of arrays with the
same first axis, rows: the rows of all fields are concatenated or moved at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids, StepScores
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import FinishReason, GeneratedSequence
from slimseq.models_store.generation import GenerationOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Table = TypeVar("Table", bound="DataclassInstance")


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
