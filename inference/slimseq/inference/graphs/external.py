"""ONNX external data: moves tensors to a data file, reads them, and loads them back into the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_tensor, uses_external_data

from slimseq.inference.graphs.names import WEIGHTS_DATA


def move_out(
    initializer: TensorProto, data_type: int, shape: tuple[int, ...], location: str, offset: int, length: int
) -> None:
    """Makes an initializer refer to bytes in a data file in the graph's folder.

    Args:
        initializer: changed in place; keeps its name.
        data_type: of `TensorProto.DataType`.
        shape: its new shape.
        location: the file's name.
        offset: of its first byte.
        length: in bytes.
    """
    name = initializer.name
    initializer.Clear()
    initializer.name = name
    initializer.data_type = data_type
    initializer.dims.extend(shape)
    initializer.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        initializer.external_data.add(key=key, value=str(value))


def array_of(tensor: TensorProto, folder: Path) -> NDArray[Any]:
    """Returns a tensor's values. External data is read without loading it into the graph.

    Args:
        tensor: of any kind.
        folder: of the graph.
    """
    if not uses_external_data(tensor):
        return numpy_helper.to_array(tensor)
    info = ExternalDataInfo(tensor)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = int(np.prod(tensor.dims, dtype=np.int64))
    values = np.fromfile(folder / info.location, dtype=kind, count=count, offset=info.offset or 0)
    return values.reshape(tuple(tensor.dims))


def load_weights(model: ModelProto, folder: Path) -> None:
    """Loads the tensors of `weights.data` into the graph; other external tensors stay external.

    Args:
        model: changed in place.
        folder: of the export.
    """
    for tensor in model.graph.initializer:
        if uses_external_data(tensor) and ExternalDataInfo(tensor).location == WEIGHTS_DATA:
            load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def save_whole(model: ModelProto, path: Path, exported: Path) -> None:
    """Saves a graph that was made from an export, so that it does not need the export's `weights.data`.

    Args:
        model: changed in place.
        path: the file to write.
        exported: the folder of the export.
    """
    load_weights(model, exported)
    onnx.save(model, str(path))
