"""Dataclasses of arrays with the same first axis, rows: concatenates or moves the rows of all fields at once."""

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Table = TypeVar("Table", bound="DataclassInstance")


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
