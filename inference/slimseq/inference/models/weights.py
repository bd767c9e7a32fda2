"""Reads a model folder's safetensors one tensor at a time, as float32.

The format is a JSON header of types, shapes and places, and then the bytes
(https://github.com/huggingface/safetensors#format). It is read here because the library's NumPy side knows no bfloat16,
and because a read into memory of its own is given back at once, which mapped pages are not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slimseq.models_store.errors import BadSource

Floats = NDArray[np.float32]

LENGTH_BYTES = 8
TYPES: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
BFLOAT16 = "BF16"
# The names of torch, from the narrowest on.
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
# A bfloat16 is the upper half of a float32.
LOWER_HALF_BITS = 16


@dataclass(frozen=True)
class _Place:
    path: Path
    kind: str
    shape: tuple[int, ...]
    offset: int


class Weights:
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
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header: dict[str, Any] = json.loads(file.read(length))
        return {
            name: _Place(
                path, entry["dtype"], tuple(entry["shape"]), LENGTH_BYTES + length + int(entry["data_offsets"][0])
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise BadSource(f"{path.name} is no safetensors file: {error}") from error
