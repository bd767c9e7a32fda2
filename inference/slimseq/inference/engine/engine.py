"""Generation with continuous batching: inputs join and leave between steps, each with its own options.

Orca (Yu et al. 2022, https://www.usenix.org/conference/osdi22/presentation/yu) calls it iteration-level scheduling. Who
may join when is the caller's to decide; here, inputs that search alike share a decoder step, and encoders run in chunks
of like lengths.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnxruntime as ort

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.sampling import SamplingSearch
from slimseq.inference.decoding.search import Search
from slimseq.inference.engine.caches import Array
from slimseq.inference.engine.decode_batch import DecodeBatch
from slimseq.inference.engine.encoder import encoded
from slimseq.inference.engine.padding import pad
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, Progress
from slimseq.models_store.manifest import GenerationOptions

# Tokens that an encoder takes at once, padding included: more do not fit the caches of a core.
CHUNK_TOKENS = 384
# Beams, and whether tokens are drawn.
Kind = tuple[int, bool]


@dataclass(frozen=True)
class _Arrival:
    """An input that waits for its encoder."""

    key: int
    ids: Sequence[int]
    options: GenerationOptions


class Engine:
    """One model's inputs in flight. It is used by one thread at a time.

    Args:
        encoder: the session of `encoder.onnx`.
        decoder: the session of `decoder.onnx`.
        configuration: special ids and shape.
    """

    def __init__(
        self, encoder: ort.InferenceSession, decoder: ort.InferenceSession, configuration: ModelConfiguration
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._configuration = configuration
        self._arrivals: deque[_Arrival] = deque()
        self._batches: dict[Kind, DecodeBatch] = {}
        self._keys = 0

    def __len__(self) -> int:
        """How many inputs have not ended, those that wait among them."""
        return len(self._arrivals) + sum(map(len, self._batches.values()))

    @property
    def waiting(self) -> int:
        """How many inputs have been added whose encoder has not run."""
        return len(self._arrivals)

    def add(self, ids: Sequence[int], options: GenerationOptions) -> int:
        """Adds an input, unpadded, specials included; returns its key."""
        self._keys += 1
        self._arrivals.append(_Arrival(self._keys, ids, options))
        return self._keys

    def admit(self, tokens: int = CHUNK_TOKENS) -> None:
        """Runs the encoder for the inputs that have waited longest, as many as have so many tokens, but at least one.

        Args:
            tokens: the most of input ids in all, without padding.
        """
        taken: list[_Arrival] = []
        while self._arrivals and (not taken or len(self._arrivals[0].ids) <= tokens):
            taken.append(self._arrivals.popleft())
            tokens -= len(taken[-1].ids)
        for kind in sorted({kind_of(arrival.options) for arrival in taken}):
            alike = [arrival for arrival in taken if kind_of(arrival.options) == kind]
            alike.sort(key=lambda arrival: len(arrival.ids))
            self._lane(kind).join(
                [arrival.key for arrival in alike],
                [arrival.options for arrival in alike],
                [len(arrival.ids) for arrival in alike],
                [self._encoded(chunk) for chunk in _chunks([arrival.ids for arrival in alike])],
            )

    def step(self) -> dict[int, Progress]:
        """Runs one decoder step for all inputs whose encoder has run; returns what it brought, by key."""
        progress: dict[int, Progress] = {}
        for kind, batch in list(self._batches.items()):
            progress |= batch.step()
            if not len(batch):
                del self._batches[kind]
        return progress

    def drop(self, keys: Collection[int]) -> dict[int, GeneratedSequence]:
        """Takes inputs out before they have ended; returns what each has come to, with reason `cancelled`."""
        cut = {arrival.key: GeneratedSequence([], "cancelled") for arrival in self._arrivals if arrival.key in keys}
        self._arrivals = deque(arrival for arrival in self._arrivals if arrival.key not in keys)
        for kind, batch in list(self._batches.items()):
            cut |= batch.drop(keys)
            if not len(batch):
                del self._batches[kind]
        return cut

    def _lane(self, kind: Kind) -> DecodeBatch:
        if kind not in self._batches:
            configuration = self._configuration
            layers, vocabulary = configuration.decoder_layers, int(self._decoder.get_outputs()[0].shape[-1])
            self._batches[kind] = DecodeBatch(self._decoder, search_for(kind, configuration), layers, vocabulary)
        return self._batches[kind]

    def _encoded(self, rows: Sequence[Sequence[int]]) -> dict[str, Array]:
        """Returns cross-attention keys and values, by the decoder graph's names."""
        return encoded(self._encoder, *pad(rows, self._configuration.pad_id))


def kind_of(options: GenerationOptions) -> Kind:
    """Returns what inputs must have in common to share a search."""
    return options.num_beams, options.do_sample


def search_for(kind: Kind, configuration: ModelConfiguration) -> Search:
    """Returns a search of a kind that is at nothing yet."""
    num_beams, is_sampled = kind
    if is_sampled:
        return SamplingSearch(configuration)
    return GreedySearch(configuration) if num_beams == 1 else BeamSearch(configuration, num_beams)


def _chunks(rows: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
    """Cuts rows, the shortest first, into chunks that an encoder takes at once."""
    chunks: list[list[Sequence[int]]] = []
    for row in rows:
        if chunks and (len(chunks[-1]) + 1) * len(row) <= CHUNK_TOKENS:
            chunks[-1].append(row)
        else:
            chunks.append([row])
    return list(chunks)
