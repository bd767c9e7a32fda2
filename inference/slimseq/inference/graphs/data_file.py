"""Writes the weights of all graphs of an artifact into one file, tensor by tensor and each only once."""

from collections.abc import Callable
from typing import IO

from onnx import TensorProto

from slimseq.inference.graphs.external import move_out
from slimseq.inference.graphs.names import WEIGHTS_DATA
from slimseq.inference.models.weights import Floats

# A page: aligned tensors can be memory-mapped.
ALIGNMENT_BYTES = 4096
ROWS_AT_ONCE = 256


class DataFile:
    """A weights file that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._tensors: dict[str, TensorProto] = {}

    def tensor(self, name: str, make: Callable[[], Floats]) -> TensorProto:
        """Returns a tensor with its bytes in the file; writes them at the first call for `name`.

        Args:
            name: of the tensor; the same name means the same values in all graphs.
            make: returns the values.
        """
        if name not in self._tensors:
            values = make()
            self._file.write(bytes(-self._file.tell() % ALIGNMENT_BYTES))
            self._tensors[name] = TensorProto(name=name)
            location = (WEIGHTS_DATA, self._file.tell(), values.nbytes)
            move_out(self._tensors[name], TensorProto.FLOAT, values.shape, *location)
            # In chunks, so that a transposed view is never copied as a whole.
            for start in range(0, len(values), ROWS_AT_ONCE):
                self._file.write(values[start : start + ROWS_AT_ONCE].tobytes())
        return self._tensors[name]
