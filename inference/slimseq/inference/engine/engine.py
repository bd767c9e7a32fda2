"""Generation with continuous batching: inputs join and leave between steps, each with its own options.

Orca (Yu et al. 2022, https://www.usenix.org/conference/osdi22/presentation/yu) calls it iteration-level scheduling. The
caller decides when an input goes from the queue (`add`) through the encoder (`admit`) into the `DecodeBatch` of its
search method, and when all batches take a `step`. The engine runs the encoder in chunks of inputs of similar length.
For long inputs the encoder runs in a thread of its own, so that the steps of much shorter inputs go on.
"""

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple

import onnxruntime as ort

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.greedy import ForcedSearch, GreedySearch
from slimseq.inference.decoding.lookup import LookupSearch
from slimseq.inference.decoding.sampling import SamplingSearch
from slimseq.inference.decoding.search import Search
from slimseq.inference.engine.decode_batch import DecodeBatch, EngineInput
from slimseq.inference.engine.graph_runs import pad, run_encoder, trimming
from slimseq.inference.engine.memory import Array, takes_positions
from slimseq.inference.engine.shortlist_candidates import NewShortlistCandidates
from slimseq.inference.graphs.tensor_names import DecoderInputs, has_split_projection
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, RowProgress
from slimseq.models_store.generation import ForcedOptions, GenerationOptions, UnrestrictedOptions

# Tokens of one encoder run, padding included: activations of more do not fit a core's caches.
CHUNK_TOKENS = 384
# An encoder run goes to a thread of its own if both hold: it takes more CPU time than `MAX_PAUSE_SECONDS`, by which it
# would delay a step, and its longest input is `LONG_FACTOR` times as long as one in flight.
MAX_PAUSE_SECONDS = 0.03
LONG_FACTOR = 4
# How long a step without rows waits for that thread, before its caller may add or drop inputs.
POLL_SECONDS = 0.005


class SearchMethod(NamedTuple):
    """What the inputs of one batch have in common.

    `is_unrestricted`: outputs may have any token, also where the model has a shortlist.
    """

    num_beams: int
    is_sampled: bool
    is_forced: bool
    is_unrestricted: bool


@dataclass
class EncoderRun:
    """Inputs whose encoder runs in the thread, and the keys of those that were not dropped meanwhile."""

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
        # Runs in `_encoder_thread`, in the order in which they were submitted.
        self._encoder_runs: list[EncoderRun] = []
        self._encoder_thread = ThreadPoolExecutor(1, "encoder")
        # CPU time for each input token, in the last encoder run.
        self._seconds_a_token = 0.0
        self._last_key = 0

    def __len__(self) -> int:
        encoding = sum(len(each.wanted) for each in self._encoder_runs)
        return len(self._queue) + encoding + sum(map(len, self._batches.values()))

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def add(self, ids: Sequence[int], options: GenerationOptions, *, is_streamed: bool = False) -> int:
        self._last_key += 1
        self._queue.append(EngineInput(self._last_key, ids, options, is_streamed))
        return self._last_key

    def admit(self, tokens: int = CHUNK_TOKENS) -> None:
        admitted: list[EngineInput] = []
        while self._queue and (not admitted or len(self._queue[0].ids) <= tokens):
            admitted.append(self._queue.popleft())
            tokens -= len(admitted[-1].ids)
        for method in sorted({search_method(each.options) for each in admitted}):
            inputs = [each for each in admitted if search_method(each.options) == method]
            inputs.sort(key=lambda each: len(each.ids))
            if self._would_delay_short_ones(inputs):
                cross_attention = self._encoder_thread.submit(self._encode, inputs)
                self._encoder_runs.append(EncoderRun(method, inputs, {each.key for each in inputs}, cross_attention))
            else:
                self._batch_for(method).join(inputs, self._encode(inputs))

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

    def trim(self) -> None:
        # ONNX Runtime gives memory back only at the end of a run, so the graphs run once more, on one token.
        cross_attention = [run_encoder(self._encoder, *pad([[0]], 0), trimming())]
        if has_split_projection(self._configuration.vocabulary):
            search = GreedySearch(self._configuration)
            batch = DecodeBatch(self._decoder, self._inputs, search, self._configuration, None, trimming())
            options = GenerationOptions(max_new_tokens=1)
            batch.join([EngineInput(0, [0], options, is_streamed=False)], cross_attention)
            batch.step()

    def _would_delay_short_ones(self, inputs: Sequence[EngineInput]) -> bool:
        """Whether the encoder takes long for inputs, sorted by length, while much shorter ones are in flight."""
        if self._seconds_a_token * sum(len(each.ids) for each in inputs) <= MAX_PAUSE_SECONDS:
            return False
        return any(LONG_FACTOR * min(batch.lengths) <= len(inputs[-1].ids) for batch in self._batches.values())

    def _encode(self, inputs: Sequence[EngineInput]) -> list[Mapping[str, Array]]:
        """Runs the encoder for inputs, which are sorted by length; returns the keys and values of each chunk."""
        chunks = [pad(chunk, self._configuration.pad_id) for chunk in _chunks([each.ids for each in inputs])]
        started = time.thread_time()
        encoded: list[Mapping[str, Array]] = [run_encoder(self._encoder, *chunk) for chunk in chunks]
        self._seconds_a_token = (time.thread_time() - started) / sum(ids.size for ids, _ in chunks)
        return encoded

    def _join_encoded(self) -> None:
        """Adds inputs whose encoder ran in the thread to their batches. Waits a little if there are no batches."""
        if self._encoder_runs and not self._batches:
            wait([self._encoder_runs[0].cross_attention], POLL_SECONDS)
        while self._encoder_runs and self._encoder_runs[0].cross_attention.done():
            run = self._encoder_runs.pop(0)
            if not run.cross_attention.cancelled():
                # All inputs join, since keys and values belong to whole chunks. Dropped inputs leave at once.
                self._batch_for(run.method).join(run.inputs, run.cross_attention.result())
                self.drop({each.key for each in run.inputs} - run.wanted)

    def _batch_for(self, method: SearchMethod) -> DecodeBatch:
        """Returns the batch of a search method. It is made for the first input, and lives until the last one leaves."""
        if method in self._batches:
            return self._batches[method]
        search = new_search(method, self._configuration)
        candidates = None
        if self._new_candidates is not None and not method.is_unrestricted:
            candidates = self._new_candidates(search.num_beams)
        if type(search) is GreedySearch and candidates is None and self._takes_positions:
            search = LookupSearch(self._configuration)
        batch = DecodeBatch(self._decoder, self._inputs, search, self._configuration, candidates)
        self._batches[method] = batch
        return batch


def search_method(options: GenerationOptions) -> SearchMethod:
    """Returns the options that the inputs of one batch must have in common."""
    return SearchMethod(
        num_beams=options.num_beams,
        is_sampled=options.do_sample,
        is_forced=isinstance(options, ForcedOptions),
        is_unrestricted=isinstance(options, UnrestrictedOptions),
    )


def new_search(method: SearchMethod, configuration: ModelConfiguration) -> Search:
    """Returns a search without inputs."""
    if method.is_forced:
        return ForcedSearch(configuration)
    if method.is_sampled:
        return SamplingSearch(configuration)
    return GreedySearch(configuration) if method.num_beams == 1 else BeamSearch(configuration, method.num_beams)


def _chunks(rows: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    """Splits rows, which are sorted by length, into chunks of at most `CHUNK_TOKENS` with padding."""
    chunks: list[list[Sequence[int]]] = []
    for row in rows:
        if chunks and (len(chunks[-1]) + 1) * len(row) <= CHUNK_TOKENS:
            chunks[-1].append(row)
        else:
            chunks.append([row])
    return list(chunks)
