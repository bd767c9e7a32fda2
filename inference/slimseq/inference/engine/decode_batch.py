"""A batch of inputs with the same search method. They share each decoder step, whenever they joined.

It connects a `Search`, which chooses tokens, with the caches in `Memory` and the bound decoder graph.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnxruntime as ort

from slimseq.inference.decoding.lookup import Drafts, LookupSearch
from slimseq.inference.decoding.search import Advance, Search
from slimseq.inference.engine.bound_decoder import BoundDecoder, StepBuffers
from slimseq.inference.engine.caches import Array
from slimseq.inference.engine.candidates import ALL_TOKENS, Candidates
from slimseq.inference.engine.memory import Memory
from slimseq.inference.graphs.names import CACHE_SLOTS, LOG_SUM_EXP_ROWS, TOP, decoder_caches
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, RowProgress
from slimseq.models_store.generation import GenerationOptions


class DecodeBatch:
    """The batch.

    Args:
        decoder: the session of `decoder.onnx`.
        search: chooses the next tokens.
        configuration: the model's special ids and shape.
        candidates: of its inputs; None if they choose among all tokens.
    """

    def __init__(
        self,
        decoder: ort.InferenceSession,
        search: Search,
        configuration: ModelConfiguration,
        candidates: Candidates | None,
    ) -> None:
        shapes = {entry.name: entry.shape for entry in decoder.get_inputs()}
        self._decoder = decoder
        self._search = search
        self._candidates = candidates
        self._updated = decoder_caches(shapes)
        self._vocabulary = configuration.vocabulary
        self._heads = int(shapes[CACHE_SLOTS][1]) if CACHE_SLOTS in shapes else 1
        self._memory = Memory(shapes, configuration.decoder_layers, search.num_beams)
        self._keys: list[int] = []
        self._buffers: StepBuffers | None = None
        # Bound decoders by the number of inputs and of the rows of each, valid for one version of the memory and of the
        # candidates.
        self._bound: dict[tuple[int, int], BoundDecoder] = {}
        self._bound_version = (-1, -1)

    def __len__(self) -> int:
        return len(self._keys)

    def join(
        self,
        keys: Sequence[int],
        options: Sequence[GenerationOptions],
        is_streamed: Sequence[bool],
        sources: Sequence[Sequence[int]],
        cross_attention: Sequence[Mapping[str, Array]],
    ) -> None:
        """Adds inputs whose encoder has run.

        Args:
            keys: the caller's identifiers.
            options: of each input.
            is_streamed: whether each input's tokens are reported as soon as they are final.
            sources: the ids of each input.
            cross_attention: cross-attention keys and values of one or several chunks, by the decoder graph's names.
        """
        self._memory.join(list(map(len, sources)), cross_attention)
        if self._candidates is not None:
            self._candidates.join(sources, options)
        self._search.join(options, is_streamed)
        if isinstance(self._search, LookupSearch):
            self._search.read(sources, options)
        self._keys += keys

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Removes unfinished inputs; returns their output so far by key."""
        rows = [row for row, key in enumerate(self._keys) if key in keys]
        cut = {self._keys[row]: self._search.cut(row) for row in rows}
        self._remove(rows)
        return cut

    def step(self) -> dict[int, RowProgress]:
        """Runs the decoder on one token a row, or on drafts; returns the progress of each input, by key."""
        drafts = self._search.drafts() if isinstance(self._search, LookupSearch) else None
        found = self._advance() if drafts is None else self._verify(drafts)
        if found.origins is not None:
            self._memory.reorder(found.origins)
        progress: dict[int, RowProgress] = {}
        for row, token in found.new_tokens:
            progress.setdefault(self._keys[row], RowProgress()).tokens.append(token)
        for row, sequence in found.finished.items():
            progress.setdefault(self._keys[row], RowProgress()).ended = sequence
        self._remove(list(found.finished))
        return progress

    def _advance(self) -> Advance:
        search = self._search
        self._memory.ensure_capacity()
        decoder = self._bound_decoder(search.num_beams)
        scores = decoder.run(search.next_tokens(), search.positions(), self._memory.allocate_slots())
        if self._candidates is not None:
            scores = self._candidates.scores(scores.logits, search.top)
        return search.advance(scores)

    def _verify(self, drafts: Drafts) -> Advance:
        assert isinstance(self._search, LookupSearch)
        [_, width] = drafts.tokens.shape
        self._memory.ensure_capacity(width - 1)
        decoder = self._bound_decoder(width)
        found = self._search.verify(drafts, decoder.run_positions(drafts.tokens, drafts.positions))
        self._memory.continue_to(self._search.positions() - 1)
        return found

    def _remove(self, rows: Sequence[int]) -> None:
        """Removes inputs. The last ones move into the gaps."""
        if not rows:
            return
        count = len(self._keys) - len(rows)
        removed = set(rows)
        movable = [row for row in range(count, len(self._keys)) if row not in removed]
        order = np.arange(count)
        for gap in sorted(removed):
            if gap < count:
                order[gap] = movable.pop()
        self._memory.keep(order)
        if self._candidates is not None:
            self._candidates.keep(order)
        self._search.keep(order)
        self._keys = [self._keys[row] for row in order]

    def _bound_decoder(self, rows_an_input: int) -> BoundDecoder:
        version = (self._memory.version, 0 if self._candidates is None else self._candidates.version)
        if self._bound_version != version:
            self._bound.clear()
            self._bound_version = version
        shape = len(self), rows_an_input
        if shape not in self._bound:
            self._bound[shape] = self._bind(*shape)
        return self._bound[shape]

    def _bind(self, inputs: int, rows_an_input: int) -> BoundDecoder:
        views = self._memory.views()
        search = self._search
        if rows_an_input != search.num_beams:
            views |= self._memory.masks(rows_an_input)
        rows = inputs * rows_an_input
        if self._buffers is None or self._buffers.rows < rows:
            self._bound.clear()
            self._buffers = StepBuffers.of(rows, self._heads, self._vocabulary, search.top)
        fixed: dict[str, Array] = {
            TOP: np.array([search.top], dtype=np.int64),
            LOG_SUM_EXP_ROWS: np.array([rows], dtype=np.int64),
            **ALL_TOKENS,
            **views,
        }
        buffers = self._buffers.first(inputs, rows_an_input)
        if self._candidates is not None and self._candidates.inputs:
            fixed |= self._candidates.inputs
            buffers = buffers.without_top(self._candidates.capacity)
        updated_caches = {output: views[cache] for cache, output in self._updated.items()}
        return BoundDecoder(self._decoder, buffers, fixed, updated_caches)
