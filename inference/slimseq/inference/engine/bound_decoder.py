"""The decoder's graph bound to memory: what a step reads and gives stays where it is from one step to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue

from slimseq.inference.decoding.scores import Ids, StepScores
from slimseq.inference.engine.caches import Array
from slimseq.inference.engine.denormals import without_denormals
from slimseq.inference.graphs.names import LOG_SUM_EXP, LOGITS, PLACES, POSITIONS, TOP_LOGITS, TOP_TOKENS


@dataclass(frozen=True)
class StepBuffers:
    """What a step reads and gives beside caches, with room for some rows.

    It is kept while rows come and go: memory that is new costs the step that fills it.

    Args:
        tokens: `(rows,)`, int64.
        positions: `(rows,)`, int64.
        places: the input, head, 0 and column that each row writes its keys and values to, `(rows, heads, 4)`, int64.
        logits: `(rows, vocabulary)`, float32.
        top_logits: `(rows, top)`, float32.
        top_tokens: `(rows, top)`, int64.
        log_sum_exp: `(rows, 1)`, float32.
    """

    tokens: Array
    positions: Array
    places: Array
    logits: Array
    top_logits: Array
    top_tokens: Array
    log_sum_exp: Array

    @classmethod
    def of(cls, rows: int, num_beams: int, heads: int, vocabulary: int, top: int) -> "StepBuffers":
        """Makes room for rows, `num_beams` of each input."""
        places = np.zeros((rows, heads, 4), dtype=np.int64)
        places[:, :, 0] = np.arange(rows)[:, None] // num_beams
        places[:, :, 1] = np.arange(heads)
        return cls(
            np.zeros(rows, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
            places,
            np.empty((rows, vocabulary), dtype=np.float32),
            np.empty((rows, top), dtype=np.float32),
            np.empty((rows, top), dtype=np.int64),
            np.empty((rows, 1), dtype=np.float32),
        )

    @property
    def rows(self) -> int:
        """For how many rows there is room."""
        return len(self.tokens)

    def first(self, rows: int, log_sum_exp_rows: int) -> "StepBuffers":
        """Returns the first rows, and the normalisers of some of them."""
        cut = {entry.name: getattr(self, entry.name)[:rows] for entry in fields(self)}
        return replace(self, **cut | {"log_sum_exp": self.log_sum_exp[:log_sum_exp_rows]})


class BoundDecoder:
    """The decoder with all of its inputs and outputs bound, for as long as the rows and their memory stay the same."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        buffers: StepBuffers,
        fixed: Mapping[str, Array],
        written: Mapping[str, Array],
    ) -> None:
        """Binds everything.

        Args:
            decoder: the session of `decoder.onnx`.
            buffers: for the rows there are, no more.
            fixed: inputs that stay as they are, by name.
            written: caches with the step's token, by name: the memory of the inputs of the same caches.
        """
        self._decoder = decoder
        self._binding = decoder.io_binding()
        self._buffers = buffers
        told = {"input_ids": buffers.tokens, POSITIONS: buffers.positions, PLACES: buffers.places, **fixed}
        # Some models want to know where a token stands, others how far it is from those before it.
        inputs = {entry.name: told[entry.name] for entry in decoder.get_inputs()}
        outputs = {
            LOGITS: buffers.logits,
            TOP_LOGITS: buffers.top_logits,
            TOP_TOKENS: buffers.top_tokens,
            LOG_SUM_EXP: buffers.log_sum_exp,
            **written,
        }
        # One value for each memory: what is an input and an output too is written in place.
        values: dict[int, OrtValue] = {}
        for bind, arrays in (
            (self._binding.bind_ortvalue_input, inputs),
            (self._binding.bind_ortvalue_output, outputs),
        ):
            for name, array in arrays.items():
                if id(array) not in values:
                    values[id(array)] = OrtValue.ortvalue_from_numpy(array)
                bind(name, values[id(array)])
        self._kept = list(values.values())

    def run(self, tokens: Ids, positions: Ids, columns: Ids) -> StepScores:
        """Feeds one token a row; what it returns is overwritten by the next run.

        Args:
            tokens: `(rows,)`.
            positions: how many tokens came before each, `(rows,)`.
            columns: where its keys and values are written, `(inputs, rows an input)`.
        """
        buffers = self._buffers
        buffers.tokens[:] = tokens
        buffers.positions[:] = positions
        buffers.places[:, :, 3] = columns.reshape(-1, 1)
        without_denormals(self._decoder.run_with_iobinding, self._binding)
        return StepScores(buffers.logits, buffers.top_logits, buffers.top_tokens, buffers.log_sum_exp[:, 0])
