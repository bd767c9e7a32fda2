"""Reads a model folder's safetensors one tensor at a time, as float32.

The format is a JSON header of types, shapes and places, and then the bytes
(https://github.com/huggingface/safetensors#format). The `safetensors` library is not used, for two reasons: its NumPy
interface has no bfloat16, and it maps files into memory. Memory that is read into is given back at once; mapped pages
are not.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.models.bounds import shown
from slimseq.models_store.errors import BadSource
from slimseq.models_store.model_folder import open_regular

Floats = NDArray[np.float32]

# Of the header's length, with which a file begins.
LENGTH_BYTES = 8
# The limit of the format's own library.
MAX_HEADER_BYTES = 100_000_000
# Limits of shapes and offsets: lists of at most so many whole numbers, which fit into 64 bits.
MAX_DIMENSIONS = 8
MAX_SIZE = 2**63
# The keys of a tensor's entry in the header.
KEYS = ("dtype", "shape", "data_offsets")
# NumPy has no bfloat16: its bits are read as whole numbers.
TYPES: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
BFLOAT16 = "BF16"
# The names of torch, from the narrowest type on. bfloat16 has less precision than float16.
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
# A bfloat16 is the upper half of a float32.
LOWER_HALF_BITS = 16


@dataclass(frozen=True)
class _Place:
    """Where a tensor is: from byte `offset` of a file on."""

    path: Path
    kind: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsReader:
    """The tensors of a model folder. Only headers are kept in memory."""

    def __init__(self, folder: Path) -> None:
        """Reads the headers of all safetensors files of a folder.

        Raises:
            BadSource: there are none, or one of them is no such file.
        """
        self._name = folder.name
        self._places: dict[str, _Place] = {}
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise BadSource(f"{folder} holds no safetensors; pickled weights are never read")
        for path in paths:
            self._places |= _places(path)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    @property
    def kinds(self) -> dict[str, str]:
        """The type of each tensor that is a float of 16 or 32 bits, by the format's name for it."""
        return {name: place.kind for name, place in self._places.items() if place.kind in TYPES}

    @property
    def names(self) -> set[str]:
        """The names of all tensors."""
        return set(self._places)

    @property
    def elements(self) -> int:
        """The number of numbers in all tensors."""
        return sum(math.prod(place.shape) for place in self._places.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a tensor's shape without reading it."""
        return self._place(name).shape

    def read(self, name: str) -> Floats:
        """Reads a tensor.

        Raises:
            BadSource: there is no such tensor, or it is of a type that is no float of 16 or 32 bits.
        """
        place = self._place(name)
        if place.kind not in TYPES:
            raise BadSource(f"{self._name}: {name} is of type {place.kind}, not one of {', '.join(TYPES)}")
        count = int(np.prod(place.shape, dtype=np.int64))
        stored: NDArray[Any] = np.fromfile(place.path, dtype=TYPES[place.kind], count=count, offset=place.offset)
        if len(stored) != count:
            raise BadSource(f"{self._name}: {place.path.name} ends before {name} does")
        if place.kind == BFLOAT16:
            wide = stored.astype(np.uint32)
            wide <<= LOWER_HALF_BITS
            return wide.view(np.float32).reshape(place.shape)
        return stored.astype(np.float32, copy=False).reshape(place.shape)

    def first_of(self, *names: str) -> str:
        """Returns the first of some names that there is.

        Raises:
            BadSource: there is none of them.
        """
        for name in names:
            if name in self:
                return name
        raise BadSource(f"{self._name}: the safetensors hold no {' or '.join(names)}")

    def _place(self, name: str) -> _Place:
        return self._places[self.first_of(name)]


def widest_dtype(kinds: Mapping[str, str]) -> str:
    """Returns torch's name for the widest of some types; bfloat16 if there is none."""
    return DTYPES[max(kinds.values(), key=list(DTYPES).index, default=BFLOAT16)]


def _places(path: Path) -> dict[str, _Place]:
    """Reads the header of one file; raises BadSource if it is no safetensors file."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            if length > min(MAX_HEADER_BYTES, size - LENGTH_BYTES):
                raise ValueError(f"its header has {length:,} bytes, and the file {size:,}")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no table of tensors")
        data = LENGTH_BYTES + length
        return {name: _place(path, name, entry, data, size) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadSource(f"{path.name} is no safetensors file: {reason}") from error


def _place(path: Path, name: str, entry: Any, data: int, size: int) -> _Place:
    """Returns where a tensor is, from its entry in the header. Data begin at the byte `data` of `size`."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = (fields.get(key, ()) for key in KEYS)
    are_sizes = _are_sizes(shape) and _are_sizes(offsets)
    if not isinstance(kind, str) or not are_sizes or len(offsets) != 2:
        raise ValueError(f"the entry of {shown(name)} is no tensor")
    begin, end = offsets
    if not begin <= end <= size - data:
        raise ValueError(f"{shown(name)} ends behind the file")
    if kind in TYPES and math.prod(shape) * np.dtype(TYPES[kind]).itemsize != end - begin:
        raise ValueError(f"{shown(name)} has {end - begin:,} bytes, and the shape {shape}")
    return _Place(path, kind, tuple(shape), data + begin)


def _are_sizes(value: Any) -> bool:
    """Whether a value is a short list of whole numbers that are not negative."""
    is_list = isinstance(value, list) and len(value) <= MAX_DIMENSIONS
    return is_list and all(type(each) is int and 0 <= each < MAX_SIZE for each in value)
