"""One file of weights that all graphs of an artifact read: written tensor by tensor, and nothing in it twice."""

from collections.abc import Callable
from typing import IO

from onnx import TensorProto

from slimseq.inference.graphs.external import move_out
from slimseq.inference.graphs.names import WEIGHTS_DATA
from slimseq.inference.models.weights import Floats

# Tensors that start a page can be mapped as they are.
ALIGNMENT = 4096
ROWS_AT_ONCE = 256


class DataFile:
    """The file in the making."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._tensors: dict[str, TensorProto] = {}

    def tensor(self, name: str, make: Callable[[], Floats]) -> TensorProto:
        """Returns a tensor whose bytes are in the file, and writes them if no graph had them written before.

        Args:
            name: the tensor's name, which stands for its values in all graphs.
            make: gives the values.
        """
        if name not in self._tensors:
            values = make()
            self._file.write(bytes(-self._file.tell() % ALIGNMENT))
            self._tensors[name] = TensorProto(name=name)
            place = (WEIGHTS_DATA, self._file.tell(), values.nbytes)
            move_out(self._tensors[name], TensorProto.FLOAT, values.shape, *place)
            # A few rows at once: a transposed view becomes contiguous without a copy of the whole.
            for start in range(0, len(values), ROWS_AT_ONCE):
                self._file.write(values[start : start + ROWS_AT_ONCE].tobytes())
        return self._tensors[name]
