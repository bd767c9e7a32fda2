"""Generation with continuous batching: inputs join and leave between steps, each with its own options.

Orca (Yu et al. 2022, https://www.usenix.org/conference/osdi22/presentation/yu) calls it iteration-level scheduling. The
caller decides when an input joins. The engine runs the encoder in chunks of similar lengths, for long inputs beside the
steps of much shorter ones, and one decoder step for all inputs with the same search method.
"""

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import onnxruntime as ort

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.greedy import ForcedSearch, GreedySearch
from slimseq.inference.decoding.lookup import LookupSearch
from slimseq.inference.decoding.sampling import SamplingSearch
from slimseq.inference.decoding.search import Search
from slimseq.inference.engine.decode_batch import DecodeBatch, EngineInput
from slimseq.inference.engine.graph_runs import pad, run_encoder
from slimseq.inference.engine.memory import Array, takes_positions
from slimseq.inference.engine.shortlist_candidates import NewShortlistCandidates
from slimseq.inference.graphs.tensor_names import DecoderInputs
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, RowProgress
from slimseq.models_store.generation import ForcedOptions, GenerationOptions, UnrestrictedOptions

# Tokens of one encoder run, padding included: activations of more do not fit a core's caches.
CHUNK_TOKENS = 384
# An encoder run of more CPU time, for an input so many times as long as one in flight, has a thread of its own: steps
# go on beside it.
MAX_PAUSE_SECONDS = 0.03
LONG_FACTOR = 4
# How long a step without rows waits for that thread, before its caller may add or drop some.
POLL_SECONDS = 0.005
# `num_beams`, `do_sample`, whether the output is forced, and whether it may have any token beside a shortlist.
SearchMethod = tuple[int, bool, bool, bool]


@dataclass
class EncoderRun:
    """Inputs whose encoder runs beside the steps of others, and the keys of those that are still wanted."""

    method: SearchMethod
    inputs: list[EngineInput]
    wanted: set[int]
    cross_attention: Future[list[Mapping[str, Array]]]


class OnnxEngine:
    """The inputs in flight of one model. See `Engine` for the methods."""

    def __init__(
        self,
        encoder: ort.InferenceSession,
        decoder: ort.InferenceSession,
        configuration: ModelConfiguration,
        new_candidates: NewShortlistCandidates | None,
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        shapes = {entry.name: entry.shape for entry in decoder.get_inputs()}
        self._inputs = DecoderInputs.of(shapes, configuration.decoder_layers)
        self._takes_positions = takes_positions(shapes)
        self._configuration = configuration
        self._new_candidates = new_candidates
        self._queue: deque[EngineInput] = deque()
        self._batches: dict[SearchMethod, DecodeBatch] = {}
        self._encoder_runs: list[EncoderRun] = []
        self._thread = ThreadPoolExecutor(1, "encoder")
        # Of the last encoder run: the CPU time of each input token.
        self._token_seconds = 0.0
        self._keys = 0

    def __len__(self) -> int:
        encoding = sum(len(each.wanted) for each in self._encoder_runs)
        return len(self._queue) + encoding + sum(map(len, self._batches.values()))

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, ids: Sequence[int], options: GenerationOptions, *, is_streamed: bool = False) -> int:
        self._keys += 1
        self._queue.append(EngineInput(self._keys, ids, options, is_streamed))
        return self._keys

    def admit(self, tokens: int = CHUNK_TOKENS) -> None:
        admitted: list[EngineInput] = []
        while self._queue and (not admitted or len(self._queue[0].ids) <= tokens):
            admitted.append(self._queue.popleft())
            tokens -= len(admitted[-1].ids)
        for method in sorted({search_method(each.options) for each in admitted}):
            inputs = [each for each in admitted if search_method(each.options) == method]
            inputs.sort(key=lambda each: len(each.ids))
            if self._would_hold_up_short_ones(inputs):
                encoded = self._thread.submit(self._encode, inputs)
                self._encoder_runs.append(EncoderRun(method, inputs, {each.key for each in inputs}, encoded))
            else:
                self._batch(method).join(inputs, self._encode(inputs))

    def step(self) -> dict[int, RowProgress]:
        self._join_encoded()
        progress: dict[int, RowProgress] = {}
        for method, batch in list(self._batches.items()):
            progress |= batch.step()
            if not len(batch):
                del self._batches[method]
        return progress

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        cut = {each.key: GeneratedSequence([], "cancelled") for each in self._queue if each.key in keys}
        self._queue = deque(each for each in self._queue if each.key not in keys)
        for run in self._encoder_runs:
            cut |= {key: GeneratedSequence([], "cancelled") for key in run.wanted.intersection(keys)}
            run.wanted.difference_update(keys)
            if not run.wanted:
                run.cross_attention.cancel()
        for method, batch in list(self._batches.items()):
            cut |= batch.drop(keys)
            if not len(batch):
                del self._batches[method]
        return cut

    def _would_hold_up_short_ones(self, inputs: Sequence[EngineInput]) -> bool:
        """Whether the encoder runs long for inputs, which are sorted by length, beside much shorter ones in flight."""
        if self._token_seconds * sum(len(each.ids) for each in inputs) <= MAX_PAUSE_SECONDS:
            return False
        return any(LONG_FACTOR * min(batch.lengths) <= len(inputs[-1].ids) for batch in self._batches.values())

    def _encode(self, inputs: Sequence[EngineInput]) -> list[Mapping[str, Array]]:
        """Runs the encoder for inputs, which are sorted by length; returns cross-attention of one or several chunks."""
        chunks = [pad(chunk, self._configuration.pad_id) for chunk in _chunks([each.ids for each in inputs])]
        started = time.thread_time()
        encoded: list[Mapping[str, Array]] = [run_encoder(self._encoder, *chunk) for chunk in chunks]
        self._token_seconds = (time.thread_time() - started) / sum(ids.size for ids, _ in chunks)
        return encoded

    def _join_encoded(self) -> None:
        """Adds inputs whose encoder ran beside the steps. Waits a little for it if there are no steps."""
        if self._encoder_runs and not self._batches:
            wait([self._encoder_runs[0].cross_attention], POLL_SECONDS)
        while self._encoder_runs and self._encoder_runs[0].cross_attention.done():
            run = self._encoder_runs.pop(0)
            if not run.cross_attention.cancelled():
                self._batch(run.method).join(run.inputs, run.cross_attention.result())
                self.drop({each.key for each in run.inputs} - run.wanted)

    def _batch(self, method: SearchMethod) -> DecodeBatch:
        if method not in self._batches:
            search = new_search(method, self._configuration)
            new_candidates = None if method[-1] else self._new_candidates
            candidates = new_candidates(search.num_beams) if new_candidates else None
            if type(search) is GreedySearch and candidates is None and self._takes_positions:
                search = LookupSearch(self._configuration)
            self._batches[method] = DecodeBatch(self._decoder, self._inputs, search, self._configuration, candidates)
        return self._batches[method]


def search_method(options: GenerationOptions) -> SearchMethod:
    """Returns the options that the inputs of one batch must have in common."""
    is_forced, is_unrestricted = isinstance(options, ForcedOptions), isinstance(options, UnrestrictedOptions)
    return options.num_beams, options.do_sample, is_forced, is_unrestricted


def new_search(method: SearchMethod, configuration: ModelConfiguration) -> Search:
    num_beams, is_sampled, is_forced, _ = method
    if is_forced:
        return ForcedSearch(configuration)
    if is_sampled:
        return SamplingSearch(configuration)
    return GreedySearch(configuration) if num_beams == 1 else BeamSearch(configuration, num_beams)


def _chunks(rows: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    """Splits rows, which are sorted by length, into chunks of at most `CHUNK_TOKENS` with padding."""
    chunks: list[list[Sequence[int]]] = []
    for row in rows:
        if chunks and (len(chunks[-1]) + 1) * len(row) <= CHUNK_TOKENS:
            chunks[-1].append(row)
        else:
            chunks.append([row])
    return list(chunks)
