"""Runs graphs that optimum traced, with our search methods.

Such graphs have two limits: all rows start together, and self-attention caches are copied at each step. Cross-attention
caches are bound once. Graphs of our own exporter have neither limit (`slimseq.inference.runtimes.onnxruntime`).
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue

from slimseq.inference.decoding.search import Ids, Scores, scores_of
from slimseq.inference.engine.engine import new_search, search_method
from slimseq.inference.engine.graph_runs import pad, run_encoder, without_denormals
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.models_store.generation import GenerationOptions


class OnnxSessions:
    """The base of both runtimes on ONNX Runtime: an artifact's two sessions and its configuration."""

    name = "onnxruntime"

    def __init__(
        self, encoder: ort.InferenceSession, decoder: ort.InferenceSession, configuration: ModelConfiguration
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._configuration = configuration

    def score(self, rows: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> list[Sequence[float]]:
        """Returns no log-probabilities: graphs that optimum traced have no forced pass."""
        return [()] * len(rows)

    def close(self) -> None:
        del self._encoder, self._decoder


class TracedOnnxRuntime(OnnxSessions):
    """The runtime for graphs of optimum, with static batching."""

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, callbacks: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        if not rows:
            return []
        callbacks = callbacks or GenerationCallbacks()
        search = new_search(search_method(options), self._configuration)
        search.join([options] * len(rows), [callbacks.on_token is not None] * len(rows))
        caches = _TracedCaches(self._encoder, self._decoder, self._configuration, rows, options.num_beams)
        # The row of each input that the search still has.
        running = np.arange(len(rows))
        outputs: dict[int, GeneratedSequence] = {}
        while len(search):
            if callbacks.is_cancelled is not None and callbacks.is_cancelled():
                outputs |= {int(row): search.cut(index) for index, row in enumerate(running)}
                break
            logits = caches.step(search.next_tokens())
            advance = search.advance(scores_of(logits, search.top))
            if callbacks.on_token is not None:
                for index, token in advance.new_tokens:
                    callbacks.on_token(int(running[index]), token)
            outputs |= {int(running[index]): sequence for index, sequence in advance.finished.items()}
            kept = np.array([index for index in range(len(search)) if index not in advance.finished], dtype=np.int64)
            # The decoder's row that each beam continues, `(inputs, beams)`.
            continued = np.arange(len(logits)).reshape(len(running), -1)
            if advance.origins is not None:
                continued = np.take_along_axis(continued, advance.origins, axis=1)
            caches.keep(continued[kept].reshape(-1), kept)
            search.keep(kept)
            running = running[kept]
        return [outputs[row] for row in range(len(rows))]


class _TracedCaches:
    """The caches of one batch, and the decoder's binding."""

    def __init__(
        self,
        encoder: ort.InferenceSession,
        decoder: ort.InferenceSession,
        configuration: ModelConfiguration,
        rows: Sequence[Sequence[int]],
        num_beams: int,
    ) -> None:
        self._decoder = decoder
        self._binding = decoder.io_binding()
        self._num_beams = num_beams
        # Of self-attention caches, without the prefix for inputs or outputs.
        self._names = [
            f"{layer}.decoder.{part}" for layer in range(configuration.decoder_layers) for part in ("key", "value")
        ]
        ids, mask = pad(rows, configuration.pad_id)
        self._cross_attention = run_encoder(encoder, ids, mask)
        # Of the shape `(rows, heads, length, width)`, which all caches have.
        any_cache = next(iter(self._cross_attention.values()))
        self._cross_attention["encoder_attention_mask"] = mask
        self._bind_cross_attention()
        empty = np.zeros((len(rows) * num_beams, any_cache.shape[1], 0, any_cache.shape[3]), dtype=np.float32)
        self._self_attention = [OrtValue.ortvalue_from_numpy(empty) for _ in self._names]

    def step(self, tokens: Ids) -> Scores:
        """Runs the decoder on one token a row; returns logits `(rows, vocabulary)`, float32."""
        binding = self._binding
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(tokens[:, None]))
        for name, cache in zip(self._names, self._self_attention, strict=True):
            binding.bind_ortvalue_input(f"past_key_values.{name}", cache)
        binding.clear_binding_outputs()
        for name in ["logits", *(f"present.{name}" for name in self._names)]:
            binding.bind_output(name, "cpu")
        without_denormals(self._decoder.run_with_iobinding, binding)
        logits, *self._self_attention = binding.get_outputs()
        return np.asarray(logits.numpy()[:, -1, :], dtype=np.float32)

    def keep(self, rows: Ids, inputs: Ids) -> None:
        """Makes row `i` continue the former row `rows[i]`, and keeps the cross-attention caches of `inputs` only."""
        if not np.array_equal(rows, np.arange(self._self_attention[0].shape()[0])):
            self._self_attention = [
                OrtValue.ortvalue_from_numpy(cache.numpy().take(rows, axis=0)) for cache in self._self_attention
            ]
        if len(inputs) < len(self._cross_attention["encoder_attention_mask"]):
            self._cross_attention = {name: values[inputs] for name, values in self._cross_attention.items()}
            self._bind_cross_attention()

    def _bind_cross_attention(self) -> None:
        self._bound = {
            name: OrtValue.ortvalue_from_numpy(values.repeat(self._num_beams, axis=0))
            for name, values in self._cross_attention.items()
        }
        for name, value in self._bound.items():
            self._binding.bind_ortvalue_input(name, value)
