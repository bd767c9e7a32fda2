"""Tensors whose bytes are in a data file beside the graph: moving them there, reading them, bringing them back."""

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
    """Makes an initializer of a type and shape, with its bytes in a file beside the graph.

    Args:
        initializer: changed in place; keeps its name.
        data_type: of `TensorProto.DataType`.
        shape: its new shape.
        location: the file's name.
        offset: where in the file it starts.
        length: its bytes.
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
    """Returns a tensor's values; those in a file are read without becoming a part of the graph.

    Args:
        tensor: any.
        folder: where the graph lies.
    """
    if not uses_external_data(tensor):
        return numpy_helper.to_array(tensor)
    info = ExternalDataInfo(tensor)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    count = int(np.prod(tensor.dims, dtype=np.int64))
    values = np.fromfile(folder / info.location, dtype=kind, count=count, offset=info.offset or 0)
    return values.reshape(tuple(tensor.dims))


def bring_in(model: ModelProto, folder: Path) -> None:
    """Makes the tensors that are in an export's own data file a part of the graph; others stay where they are.

    Args:
        model: changed in place.
        folder: where the export is.
    """
    for tensor in model.graph.initializer:
        if uses_external_data(tensor) and ExternalDataInfo(tensor).location == WEIGHTS_DATA:
            load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def save_whole(model: ModelProto, path: Path, exported: Path) -> None:
    """Saves a graph that was made of an export, without the export's data file.

    Args:
        model: changed in place.
        path: where to save to.
        exported: the folder of the export.
    """
    bring_in(model, exported)
    onnx.save(model, str(path))
