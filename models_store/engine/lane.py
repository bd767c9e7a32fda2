"""Inputs that are searched for in the same way and so share a decoder step, whatever their ages."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue

from models_store.decoding.scores import StepScores
from models_store.decoding.search import Search
from models_store.engine.memory import Array, Memory
from models_store.graphs.names import (
    LOGITS,
    NORMALISED,
    NORMALISERS,
    PLACES,
    POSITIONS,
    SOURCE_SCORES,
    TOP,
    TOP_LOGITS,
    TOP_TOKENS,
    past,
    present,
)
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Progress, Sequenced


class Lane:
    """A search over rows in flight, and the decoder that gives it scores.

    Args:
        decoder: the session of `decoder.onnx`.
        search: decides what comes next.
        layers: how many layers the decoder has.
        vocabulary: how many logits a row has.
    """

    def __init__(self, decoder: ort.InferenceSession, search: Search, layers: int, vocabulary: int) -> None:
        shapes = {entry.name: entry.shape for entry in decoder.get_inputs()}
        self._decoder = decoder
        self._search = search
        self._layers = layers
        self._vocabulary = vocabulary
        self._heads = int(shapes[past(0, "decoder")[0]][1])
        self._memory = Memory(shapes, layers, search.num_beams)
        self._keys: list[int] = []
        self._bound: _Bound | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def join(
        self,
        keys: Sequence[int],
        options: Sequence[GenerationOptions],
        lengths: Sequence[int],
        sources: Sequence[Mapping[str, Array]],
    ) -> None:
        """Adds inputs whose encoder has run.

        Args:
            keys: what the caller knows them by.
            options: of each.
            lengths: of their sources, in tokens.
            sources: cross-attention keys and values of one or several chunks, by the decoder graph's names.
        """
        self._memory.join(lengths, sources)
        self._search.join(options)
        self._keys += keys
        self._bound = None

    def drop(self, keys: Collection[int]) -> dict[int, Sequenced]:
        """Takes inputs out before they have ended; returns what they have come to."""
        rows = [row for row, key in enumerate(self._keys) if key in keys]
        cut = {self._keys[row]: self._search.cut(row) for row in rows}
        self._leave(rows)
        return cut

    def step(self) -> dict[int, Progress]:
        """Runs the decoder on one token a row; returns what that brought, by key."""
        search = self._search
        positions = search.positions()
        written = int(positions.max()) + 1
        if self._memory.hold(written) or self._bound is None:
            self._bound = self._bind()
        found = search.advance(self._bound.run(search.next_tokens(), positions))
        if found.moves is not None:
            self._memory.move(found.moves, positions + 1)
        progress: dict[int, Progress] = {}
        for row, token in found.told:
            progress.setdefault(self._keys[row], Progress()).tokens.append(token)
        for row, sequence in found.done.items():
            progress.setdefault(self._keys[row], Progress()).ended = sequence
        self._leave(list(found.done))
        return progress

    def _leave(self, rows: Sequence[int]) -> None:
        """Takes inputs out; the last ones take the places of those before them."""
        if not rows:
            return
        left = len(self._keys) - len(rows)
        gone = set(rows)
        late = [row for row in range(left, len(self._keys)) if row not in gone]
        order = np.arange(left)
        for place in sorted(gone):
            if place < left:
                order[place] = late.pop()
        self._memory.keep(order)
        self._search.keep(order)
        self._keys = [self._keys[row] for row in order]
        self._bound = None

    def _bind(self) -> "_Bound":
        views = self._memory.views()
        search = self._search
        rows = len(self._keys) * search.num_beams
        fixed: dict[str, Array] = {
            SOURCE_SCORES: self._memory.source_scores(),
            TOP: np.array([search.top], dtype=np.int64),
            NORMALISED: np.array([rows if search.is_normalised else 0], dtype=np.int64),
            **views,
        }
        written = {
            output: views[cache]
            for layer in range(self._layers)
            for cache, output in zip(past(layer, "decoder"), present(layer, "decoder"), strict=True)
        }
        return _Bound(self._decoder, rows, self._heads, fixed, written, self._vocabulary)


class _Bound:
    """The decoder with all of its inputs and outputs bound, for as long as the rows and their memory stay the same."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        rows: int,
        heads: int,
        fixed: Mapping[str, Array],
        written: Mapping[str, Array],
        vocabulary: int,
    ) -> None:
        self._decoder = decoder
        self._binding = decoder.io_binding()
        self._tokens = np.zeros(rows, dtype=np.int64)
        self._positions = np.zeros(rows, dtype=np.int64)
        self._places = np.zeros((rows, heads, 3), dtype=np.int64)
        self._places[:, :, 0] = np.arange(rows)[:, None]
        self._places[:, :, 1] = np.arange(heads)
        inputs = {"input_ids": self._tokens, POSITIONS: self._positions, PLACES: self._places, **fixed}
        top, normalised = int(fixed[TOP][0]), int(fixed[NORMALISED][0])
        self._logits = np.empty((rows, vocabulary), dtype=np.float32)
        self._top_logits = np.empty((rows, top), dtype=np.float32)
        self._top_tokens = np.empty((rows, top), dtype=np.int64)
        self._normalisers = np.empty((normalised, 1), dtype=np.float32)
        outputs: dict[str, Any] = {
            LOGITS: self._logits,
            TOP_LOGITS: self._top_logits,
            TOP_TOKENS: self._top_tokens,
            NORMALISERS: self._normalisers,
            **written,
        }
        # One value for each memory: what is an input and an output too is written in place.
        values: dict[int, OrtValue] = {}
        for bind, arrays in (
            (self._binding.bind_ortvalue_input, inputs),
            (self._binding.bind_ortvalue_output, outputs),
        ):
            for name, array in arrays.items():
                value = values.setdefault(id(array), OrtValue.ortvalue_from_numpy(array))
                bind(name, value)
        self._kept = list(values.values())

    def run(
        self,
        tokens: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]",
        positions: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]",
    ) -> StepScores:
        """Feeds one token a row."""
        self._tokens[:] = tokens
        self._positions[:] = positions
        self._places[:, :, 2] = positions[:, None]
        self._decoder.run_with_iobinding(self._binding)
        return StepScores(self._logits, self._top_logits, self._top_tokens, self._normalisers[:, 0])
