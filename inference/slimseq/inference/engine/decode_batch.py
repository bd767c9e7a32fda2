"""A batch of inputs with the same search method. They share each decoder step, whenever they joined.

`OnnxEngine` has one batch a search method. The batch owns three parts, which change together when inputs join or leave:
the `Search` that chooses tokens, the caches in `Memory`, and the `ShortlistCandidates` of a model with a shortlist. For
each step it runs a `BoundDecoder`, which is bound to the memory of these parts.
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
    """The batch.

    Without candidates, its inputs choose among all tokens. `run_options` are those of each run of the decoder.
    """

    def __init__(
        self,
        decoder: ort.InferenceSession,
        inputs: DecoderInputs,
        search: Search,
        configuration: ModelConfiguration,
        candidates: ShortlistCandidates | None,
        run_options: ort.RunOptions | None = None,
    ) -> None:
        shapes = inputs.shapes
        self._decoder = decoder
        self._search = search
        self._candidates = candidates
        self._run_options = run_options
        self._output_of_cache = inputs.updated
        self._configuration = configuration
        # Heads of the layer with most of them. A recurrent decoder has no slots.
        self._heads = int(shapes[CACHE_SLOTS][1]) if CACHE_SLOTS in shapes else 1
        self._memory = Memory(inputs, search.num_beams)
        self._keys: list[int] = []
        # Whether the graph can leave out all logits but the best ones, and the keys of inputs that may need others.
        self._may_omit_logits = LOGIT_COLUMNS in shapes and candidates is None
        self._readers_of_logits = set[int]()
        self._buffers: StepBuffers | None = None
        # By three numbers: the inputs, the rows of each input, and the logits of each row. They are bound to the arrays
        # that memory and candidates had at `_bound_version`.
        self._bound_decoders: dict[tuple[int, int, int], BoundDecoder] = {}
        self._bound_version = (-1, -1)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def lengths(self) -> Sequence[int]:
        """The lengths of its inputs, in tokens."""
        return self._memory.lengths

    def join(self, inputs: Sequence[EngineInput], cross_attention: Sequence[Mapping[str, Array]]) -> None:
        """Adds inputs, whose encoder has run.

        `cross_attention` has the keys and values of one or several chunks, in order, by the decoder graph's names.
        """
        sources, options = [each.ids for each in inputs], [each.options for each in inputs]
        self._memory.join(list(map(len, sources)), cross_attention)
        if self._candidates is not None:
            self._candidates.join(sources, options)
        self._search.join(options, [each.is_streamed for each in inputs])
        if isinstance(self._search, LookupSearch):
            self._search.read(sources, options)
        self._keys += [each.key for each in inputs]
        if self._may_omit_logits:
            spare = self._search.spare
            readers = [each.key for each in inputs if may_read_logits(each.options, self._configuration, spare)]
            self._readers_of_logits.update(readers)

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Removes unfinished inputs; returns their output so far by key."""
        indices = [index for index, key in enumerate(self._keys) if key in keys]
        cut = {self._keys[index]: self._search.cut(index) for index in indices}
        self._remove(indices)
        return cut

    def step(self) -> dict[int, RowProgress]:
        """Runs the decoder on one token a row, or on drafts; returns the progress of each input, by key."""
        drafts = self._search.drafts() if isinstance(self._search, LookupSearch) else None
        advance = self._advance() if drafts is None else self._verify(drafts)
        if advance.origins is not None:
            self._memory.reorder(advance.origins)
        progress: dict[int, RowProgress] = {}
        for index, token in advance.new_tokens:
            progress.setdefault(self._keys[index], RowProgress()).tokens.append(token)
        for index, sequence in advance.finished.items():
            progress.setdefault(self._keys[index], RowProgress()).ended = sequence
        self._remove(list(advance.finished))
        return progress

    def _advance(self) -> Advance:
        """Runs the decoder on one token a row."""
        search = self._search
        self._memory.ensure_capacity()
        decoder = self._bound_decoder(search.num_beams)
        scores = decoder.run(search.next_tokens(), search.positions(), self._memory.allocate_slots())
        if self._candidates is not None:
            scores = self._candidates.scores(scores.logits, search.top)
        return search.advance(scores)

    def _verify(self, drafts: Drafts) -> Advance:
        """Runs the decoder on the last token and the draft of each input: so many rows an input."""
        assert isinstance(self._search, LookupSearch)
        width = drafts.tokens.shape[1]
        self._memory.ensure_capacity(width - 1)
        decoder = self._bound_decoder(width)
        advance = self._search.verify(drafts, decoder.run_positions(drafts.tokens, drafts.positions))
        # The newest token of each input is not in the caches yet: it is fed in the next step.
        self._memory.continue_to(self._search.positions() - 1)
        return advance

    def _remove(self, indices: Sequence[int]) -> None:
        """Removes inputs. The last ones move into the gaps."""
        if not indices:
            return
        count = len(self._keys) - len(indices)
        removed = set(indices)
        movable = [index for index in range(count, len(self._keys)) if index not in removed]
        order = np.arange(count)
        for gap in sorted(removed):
            if gap < count:
                order[gap] = movable.pop()
        self._memory.keep(order)
        if self._candidates is not None:
            self._candidates.keep(order)
        self._search.keep(order)
        self._keys = [self._keys[index] for index in order]
        self._readers_of_logits.intersection_update(self._keys)

    def _bound_decoder(self, rows_an_input: int) -> BoundDecoder:
        """Returns a decoder that is bound to the current memory."""
        version = (self._memory.version, 0 if self._candidates is None else self._candidates.version)
        if self._bound_version != version:
            self._bound_decoders.clear()
            self._bound_version = version
        needs_logits = bool(self._readers_of_logits) or not self._may_omit_logits
        logits = self._configuration.vocabulary if needs_logits else 0
        shape = len(self), rows_an_input, logits
        if shape not in self._bound_decoders:
            self._bound_decoders[shape] = self._bind(*shape)
        return self._bound_decoders[shape]

    def _bind(self, inputs: int, rows_an_input: int, logits: int) -> BoundDecoder:
        views = self._memory.views()
        search = self._search
        # Rows are positions of drafts here, which have masks of their own.
        if rows_an_input != search.num_beams:
            views |= self._memory.masks(rows_an_input)
        rows = inputs * rows_an_input
        if self._buffers is None or self._buffers.rows < rows:
            self._bound_decoders.clear()
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
        updated_caches = {output: views[cache] for cache, output in self._output_of_cache.items()}
        return BoundDecoder(self._decoder, buffers, fixed, updated_caches, self._run_options)
