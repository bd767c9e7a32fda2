"""Inputs that are searched for in the same way and so share a decoder step, whatever their ages."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnxruntime as ort

from slimseq.inference.decoding.search import Search
from slimseq.inference.engine.bound_decoder import BoundDecoder, StepBuffers
from slimseq.inference.engine.caches import Array
from slimseq.inference.engine.memory import Memory
from slimseq.inference.graphs.names import (
    LOG_SUM_EXP_ROWS,
    TOP,
    past,
    present,
)
from slimseq.inference.runtime import GeneratedSequence, Progress
from slimseq.models_store.manifest import GenerationOptions


class DecodeBatch:
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
        self._buffers: StepBuffers | None = None
        self._decoder_step: BoundDecoder | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def join(
        self,
        keys: Sequence[int],
        options: Sequence[GenerationOptions],
        lengths: Sequence[int],
        cross_attention: Sequence[Mapping[str, Array]],
    ) -> None:
        """Adds inputs whose encoder has run.

        Args:
            keys: what the caller knows them by.
            options: of each.
            lengths: of their sources, in tokens.
            cross_attention: cross-attention keys and values of one or several chunks, by the decoder graph's names.
        """
        self._memory.join(lengths, cross_attention)
        self._search.join(options)
        self._keys += keys
        self._decoder_step = None

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Takes inputs out before they have ended; returns what they have come to."""
        rows = [row for row, key in enumerate(self._keys) if key in keys]
        cut = {self._keys[row]: self._search.cut(row) for row in rows}
        self._leave(rows)
        return cut

    def step(self) -> dict[int, Progress]:
        """Runs the decoder on one token a row; returns what that brought, by key."""
        search = self._search
        if self._memory.hold() or self._decoder_step is None:
            self._decoder_step = self._bind()
        scores = self._decoder_step.run(search.next_tokens(), search.positions(), self._memory.take())
        found = search.advance(scores)
        if found.origins is not None:
            self._memory.move(found.origins)
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
        self._decoder_step = None

    def _bind(self) -> BoundDecoder:
        views = self._memory.views()
        search = self._search
        rows = len(self._keys) * search.num_beams
        if self._buffers is None or self._buffers.rows < rows:
            self._buffers = StepBuffers.of(rows, search.num_beams, self._heads, self._vocabulary, search.top)
        fixed: dict[str, Array] = {
            TOP: np.array([search.top], dtype=np.int64),
            LOG_SUM_EXP_ROWS: np.array([rows if search.needs_log_sum_exp else 0], dtype=np.int64),
            **views,
        }
        written = {
            output: views[cache]
            for layer in range(self._layers)
            for cache, output in zip(past(layer, "decoder"), present(layer, "decoder"), strict=True)
        }
        buffers = self._buffers.first(rows, log_sum_exp_rows=int(fixed[LOG_SUM_EXP_ROWS][0]))
        return BoundDecoder(self._decoder, buffers, fixed, written)
