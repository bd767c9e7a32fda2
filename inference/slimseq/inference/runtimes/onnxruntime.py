"""The ONNX Runtime runtime, on the CPU: runs `onnx/encoder.onnx` and `onnx/decoder.onnx` with our engine.

Graphs that optimum traced support neither continuous batching nor in-place updates of caches. For them `open_runtime`
returns `slimseq.inference.runtimes.traced_onnx.TracedOnnxRuntime`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import onnxruntime as ort

from slimseq.inference.engine.engine import OnnxEngine
from slimseq.inference.engine.graph_runs import without_denormals
from slimseq.inference.engine.shortlist_candidates import NewShortlistCandidates, ShortlistCandidates
from slimseq.inference.graphs.tensor_names import (
    CACHE_SLOTS,
    COLUMNS,
    DECODER,
    ENCODER,
    SELF_ATTENTION_BIAS,
    has_split_projection,
    past_state,
)
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.models.shortlist import read_shortlist
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks, Runtime
from slimseq.inference.runtimes.traced_onnx import OnnxSessions, TracedOnnxRuntime
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.files import relative_to_store, short_name
from slimseq.models_store.generation import ForcedOptions, GenerationOptions

# How long idle threads of a session spin, in microseconds. It must be longer than the time between two operators or
# steps, and short enough that the decoder's threads leave the cores to the encoder's.
SPIN_MICROSECONDS = 1000


class OnnxRuntime(OnnxSessions):
    """The runtime for graphs of our exporter, with continuous batching.

    `new_candidates` is set for a model with a shortlist.
    """

    new_candidates: NewShortlistCandidates | None = None

    def engine(self) -> OnnxEngine:
        return OnnxEngine(self._encoder, self._decoder, self._configuration, self.new_candidates)

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        return self._run(rows, [options] * len(rows), callbacks or GenerationCallbacks())

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> list[Sequence[float]]:
        # A forced pass is a generation that must take the output's tokens.
        options = [ForcedOptions(max_new_tokens=len(ids), forced_ids=tuple(ids)) for ids in outputs]
        return [each.log_probabilities for each in self._run(rows, options, GenerationCallbacks())]

    def _run(
        self, rows: Sequence[Sequence[int]], options: Sequence[GenerationOptions], callbacks: GenerationCallbacks
    ) -> list[GeneratedSequence]:
        engine = self.engine()
        is_streamed = callbacks.on_token is not None
        row_of = {engine.add(ids, options[row], is_streamed=is_streamed): row for row, ids in enumerate(rows)}
        engine.admit(sum(map(len, rows)))
        outputs: dict[int, GeneratedSequence] = {}
        while len(engine):
            if callbacks.is_cancelled is not None and callbacks.is_cancelled():
                outputs |= engine.drop(row_of)
                break
            for key, progress in engine.step().items():
                if callbacks.on_token is not None:
                    for token in progress.tokens:
                        callbacks.on_token(row_of[key], token)
                if progress.ended is not None:
                    outputs[key] = progress.ended
        return [outputs[key] for key in row_of]


def open_runtime(folder: Path, *, threads: int = 0, workers: int = 1) -> Runtime:
    """Opens an artifact's `onnx/` folder, as `RuntimeOpener` says. Each worker has its own caches.

    Raises:
        InvalidArtifact: a graph is missing, cannot be loaded, or was made for an older Slimseq.
    """
    configuration = read_configuration(folder)
    options = _session_options(threads, workers)
    # Activations are megabytes in the encoder, and in the decoder where it computes the logits of a large vocabulary.
    decoder = _open_graph(folder, DECODER, options, has_arena=has_split_projection(configuration.vocabulary))
    columns = _open_graph(folder, COLUMNS, options) if (folder / "onnx" / COLUMNS).exists() else None
    inputs = {entry.name for entry in decoder.get_inputs()}
    if CACHE_SLOTS in inputs and SELF_ATTENTION_BIAS not in inputs:
        raise InvalidArtifact(
            f"{short_name(folder / 'onnx')} was made for an older Slimseq: quantize or export it again"
        )
    # All graphs of our exporter have one of these inputs.
    if inputs.isdisjoint((CACHE_SLOTS, past_state(0))):
        return TracedOnnxRuntime(_open_graph(folder, ENCODER, options), decoder, configuration)
    encoder = _open_graph(folder, ENCODER, options, has_arena=True)
    runtime = OnnxRuntime(encoder, decoder, configuration)
    shortlist = read_shortlist(folder, configuration.source_vocabulary, configuration.vocabulary)
    if shortlist:
        runtime.new_candidates = partial(ShortlistCandidates, shortlist, columns, configuration)
    return runtime


def _session_options(threads: int, workers: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if workers > 1:
        # Spinning threads of one generation would take the cores of another.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    else:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    # For the session's own threads; `without_denormals` does it for the calling thread.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Weights outside of an arena: their memory would not be given back.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def _open_graph(
    folder: Path, name: str, options: ort.SessionOptions, *, has_arena: bool = False
) -> ort.InferenceSession:
    """Opens a graph.

    An arena keeps the memory of activations for the next run. Without it, each run gets new pages for large ones, which
    the system clears: a quarter of the time of t5-small's encoder with 512 tokens. Engines trim their arenas.
    """
    options.enable_cpu_mem_arena = has_arena
    path = folder / "onnx" / name
    try:
        # The first session sets the flush mode of the thread that opens it; `without_denormals` restores it.
        return without_denormals(ort.InferenceSession, str(path), options, ["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # the library's exceptions have no common base class
        reason = relative_to_store(str(error).splitlines()[0], folder)
        raise InvalidArtifact(f"{short_name(path)} cannot be opened: {reason}") from error
