"""ONNX external data: writes tensors to a data file, each only once, reads them, and loads them back into the graph."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from slimseq.inference.graphs.tensor_names import WEIGHTS_DATA
from slimseq.inference.models.safetensors_reader import Floats

# The size of a memory page: aligned tensors can be memory-mapped.
ALIGNMENT_BYTES = 4096
# Rows of a tensor that are copied and written at a time.
ROWS_AT_ONCE = 256


def move_out(
    initializer: TensorProto, data_type: int, shape: tuple[int, ...], location: str, offset: int, length: int
) -> None:
    """Makes an initializer refer to `length` bytes at `offset` in the data file `location` in the graph's folder."""
    name = initializer.name
    initializer.Clear()
    initializer.name = name
    initializer.data_type = data_type
    initializer.dims.extend(shape)
    initializer.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        initializer.external_data.add(key=key, value=str(value))


def array_of(tensor: TensorProto, folder: Path) -> NDArray[Any]:
    """Returns a tensor's values. External data is read from the graph's folder without loading it into the graph."""
    if not uses_external_data(tensor):
        return numpy_helper.to_array(tensor)
    info = ExternalDataInfo(tensor)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = int(np.prod(tensor.dims, dtype=np.int64))
    values = np.fromfile(folder / info.location, dtype=kind, count=count, offset=info.offset or 0)
    return values.reshape(tuple(tensor.dims))


def save_whole(model: ModelProto, path: Path, exported: Path) -> None:
    """Saves a graph that was made from an export, with the tensors of its `weights.data`; others stay external."""
    for tensor in model.graph.initializer:
        if uses_external_data(tensor) and ExternalDataInfo(tensor).location == WEIGHTS_DATA:
            load_external_data_for_tensor(tensor, str(exported))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
    onnx.save(model, str(path))


class DataFile:
    """The data file of an export, open for writing, and the tensors that are in it already."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._tensors: dict[str, TensorProto] = {}

    def tensor(self, name: str, make: Callable[[], Floats]) -> TensorProto:
        """Returns a tensor with its bytes in the file; writes them at the first call for its name, for all graphs."""
        if name not in self._tensors:
            values = make()
            # Zeros up to the next multiple of the alignment.
            aligned_end = math.ceil(self._file.tell() / ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            self._file.write(bytes(aligned_end - self._file.tell()))
            self._tensors[name] = TensorProto(name=name)
            location = (WEIGHTS_DATA, self._file.tell(), values.nbytes)
            move_out(self._tensors[name], TensorProto.FLOAT, values.shape, *location)
            # In chunks, so that a transposed view is never copied as a whole.
            for start in range(0, len(values), ROWS_AT_ONCE):
                self._file.write(values[start : start + ROWS_AT_ONCE].tobytes())
        return self._tensors[name]
