"""The decoder's graph bound to memory: what a step reads and gives stays where it is from one step to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue

from slimseq.inference.decoding.scores import Ids, StepScores
from slimseq.inference.engine.caches import Array
from slimseq.inference.engine.denormals import without_denormals
from slimseq.inference.graphs.names import LOGITS, NORMALISERS, PLACES, POSITIONS, TOP_LOGITS, TOP_TOKENS


@dataclass(frozen=True)
class Room:
    """What a step reads and gives beside caches, with room for some rows.

    It is kept while rows come and go: memory that is new costs the step that fills it.

    Args:
        tokens: `(rows,)`, int64.
        positions: `(rows,)`, int64.
        places: the input, head, 0 and column that each row writes its keys and values to, `(rows, heads, 4)`, int64.
        logits: `(rows, vocabulary)`, float32.
        top_logits: `(rows, top)`, float32.
        top_tokens: `(rows, top)`, int64.
        normalisers: `(rows, 1)`, float32.
    """

    tokens: Array
    positions: Array
    places: Array
    logits: Array
    top_logits: Array
    top_tokens: Array
    normalisers: Array

    @classmethod
    def of(cls, rows: int, num_beams: int, heads: int, vocabulary: int, top: int) -> "Room":
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

    def first(self, rows: int, normalised: int) -> "Room":
        """Returns the first rows, and the normalisers of some of them."""
        cut = {entry.name: getattr(self, entry.name)[:rows] for entry in fields(self)}
        return replace(self, **cut | {"normalisers": self.normalisers[:normalised]})


class Bound:
    """The decoder with all of its inputs and outputs bound, for as long as the rows and their memory stay the same."""

    def __init__(
        self, decoder: ort.InferenceSession, room: Room, fixed: Mapping[str, Array], written: Mapping[str, Array]
    ) -> None:
        """Binds everything.

        Args:
            decoder: the session of `decoder.onnx`.
            room: for the rows there are, no more.
            fixed: inputs that stay as they are, by name.
            written: caches with the step's token, by name: the memory of the inputs of the same caches.
        """
        self._decoder = decoder
        self._binding = decoder.io_binding()
        self._room = room
        told = {"input_ids": room.tokens, POSITIONS: room.positions, PLACES: room.places, **fixed}
        # Some models want to know where a token stands, others how far it is from those before it.
        inputs = {entry.name: told[entry.name] for entry in decoder.get_inputs()}
        outputs = {
            LOGITS: room.logits,
            TOP_LOGITS: room.top_logits,
            TOP_TOKENS: room.top_tokens,
            NORMALISERS: room.normalisers,
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
        room = self._room
        room.tokens[:] = tokens
        room.positions[:] = positions
        room.places[:, :, 3] = columns.reshape(-1, 1)
        without_denormals(self._decoder.run_with_iobinding, self._binding)
        return StepScores(room.logits, room.top_logits, room.top_tokens, room.normalisers[:, 0])
