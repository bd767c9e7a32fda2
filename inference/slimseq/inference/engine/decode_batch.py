"""A batch of inputs with the same search method. They share each decoder step, whenever they joined.

It connects a `Search`, which chooses tokens, with the caches in `Memory` and the bound decoder graph.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from slimseq.inference.decoding.lookup import Drafts, LookupSearch
from slimseq.inference.decoding.rules import may_read_logits
from slimseq.inference.decoding.search import Advance, Search
from slimseq.inference.engine.graph_runs import BoundDecoder, StepBuffers
from slimseq.inference.engine.memory import Array, Memory
from slimseq.inference.engine.shortlist_candidates import ALL_TOKENS, ShortlistCandidates
from slimseq.inference.graphs.tensor_names import CACHE_SLOTS, LOG_SUM_EXP_ROWS, LOGIT_COLUMNS, TOP, DecoderInputs
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, RowProgress
from slimseq.models_store.generation import GenerationOptions


@dataclass(frozen=True)
class EngineInput:
    """An input with its key in the engine."""

    key: int
    ids: Sequence[int]
    options: GenerationOptions
    is_streamed: bool


class DecodeBatch:
    """The batch. Without candidates, its inputs choose among all tokens."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        inputs: DecoderInputs,
        search: Search,
        configuration: ModelConfiguration,
        candidates: ShortlistCandidates | None,
    ) -> None:
        shapes = inputs.shapes
        self._decoder = decoder
        self._search = search
        self._candidates = candidates
        self._updated = inputs.updated
        self._configuration = configuration
        self._heads = int(shapes[CACHE_SLOTS][1]) if CACHE_SLOTS in shapes else 1
        self._memory = Memory(inputs, search.num_beams)
        self._keys: list[int] = []
        # The inputs that may read any logits. Without one, a decoder that can leaves them out.
        self._readers = set[int]()
        self._may_omit_logits = LOGIT_COLUMNS in shapes and candidates is None
        self._buffers: StepBuffers | None = None
        # By the number of inputs, of the rows of each and of their logits, for one version of memory and candidates.
        self._bound: dict[tuple[int, int, int], BoundDecoder] = {}
        self._bound_version = (-1, -1)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def lengths(self) -> Sequence[int]:
        """The lengths of its inputs, in tokens."""
        return self._memory.lengths

    def join(self, inputs: Sequence[EngineInput], cross_attention: Sequence[Mapping[str, Array]]) -> None:
        """Adds inputs, whose encoder has run: in one or several chunks, by the decoder graph's names."""
        sources, options = [each.ids for each in inputs], [each.options for each in inputs]
        self._memory.join(list(map(len, sources)), cross_attention)
        if self._candidates is not None:
            self._candidates.join(sources, options)
        self._search.join(options, [each.is_streamed for each in inputs])
        if isinstance(self._search, LookupSearch):
            self._search.read(sources, options)
        self._keys += [each.key for each in inputs]
        if self._may_omit_logits:
            self._readers.update(each.key for each in inputs if may_read_logits(each.options, self._configuration))

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
        self._readers.intersection_update(self._keys)

    def _bound_decoder(self, rows_an_input: int) -> BoundDecoder:
        version = (self._memory.version, 0 if self._candidates is None else self._candidates.version)
        if self._bound_version != version:
            self._bound.clear()
            self._bound_version = version
        logits = self._configuration.vocabulary if self._readers or not self._may_omit_logits else 0
        shape = len(self), rows_an_input, logits
        if shape not in self._bound:
            self._bound[shape] = self._bind(*shape)
        return self._bound[shape]

    def _bind(self, inputs: int, rows_an_input: int, logits: int) -> BoundDecoder:
        views = self._memory.views()
        search = self._search
        if rows_an_input != search.num_beams:
            views |= self._memory.masks(rows_an_input)
        rows = inputs * rows_an_input
        if self._buffers is None or self._buffers.rows < rows:
            self._bound.clear()
            self._buffers = StepBuffers.of(rows, self._heads, self._configuration.vocabulary, search.top)
        fixed: dict[str, Array] = {
            TOP: np.array([search.top], dtype=np.int64),
            LOG_SUM_EXP_ROWS: np.array([rows], dtype=np.int64),
            LOGIT_COLUMNS: np.array([logits], dtype=np.int64),
            **ALL_TOKENS,
            **views,
        }
        buffers = self._buffers.first(inputs, rows_an_input, logits)
        if self._candidates is not None and self._candidates.inputs:
            fixed |= self._candidates.inputs
            buffers = buffers.without_top(self._candidates.capacity)
        updated_caches = {output: views[cache] for cache, output in self._updated.items()}
        return BoundDecoder(self._decoder, buffers, fixed, updated_caches)
