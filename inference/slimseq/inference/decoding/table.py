"""Dataclasses of arrays with the same first axis, rows: concatenates or selects the rows of all fields at once."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.decoding.scores import Ids

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Table = TypeVar("Table", bound="DataclassInstance")


def concatenate_rows(first: Table, second: Table) -> Table:
    """Returns the rows of both. A shorter last axis is padded with zeros."""
    return replace(
        first, **{name: _concatenated(getattr(first, name), getattr(second, name)) for name in _names(first)}
    )


def select_rows(table: Table, order: Ids) -> Table:
    """Returns the rows `order`, in that order."""
    return replace(table, **{name: getattr(table, name)[order] for name in _names(table)})


def _names(table: "DataclassInstance") -> list[str]:
    return [entry.name for entry in fields(table)]


def _concatenated(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.generic]:
    if first.ndim > 1 and first.shape[-1] != second.shape[-1]:
        width = max(first.shape[-1], second.shape[-1])
        first, second = (
            np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, width - part.shape[-1])]) for part in (first, second)
        )
    return np.concatenate([first, second])
