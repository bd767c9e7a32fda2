"""Graphs that optimum traced, under our search: rows begin together, and caches grow by a copy at each step.

Cross-attention caches are bound once. What such graphs cannot do, and what it costs, is why we build our own.
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue

from slimseq.inference.decoding.scores import Ids, Scores, scores_of
from slimseq.inference.engine.denormals import without_denormals
from slimseq.inference.engine.encoder import encoded
from slimseq.inference.engine.engine import kind_of, search_for
from slimseq.inference.engine.padding import pad
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.inference.runtime import GeneratedSequence, GenerationCallbacks
from slimseq.inference.runtimes.onnx_sessions import OnnxSessions
from slimseq.models_store.manifest import GenerationOptions


class TracedOnnxRuntime(OnnxSessions):
    """Graphs of optimum: rows begin together."""

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: GenerationCallbacks | None = None
    ) -> list[GeneratedSequence]:
        """Generates one output for each row, as `Runtime.generate` says."""
        if not rows:
            return []
        watch = watch or GenerationCallbacks()
        search = search_for(kind_of(options), self._configuration)
        search.join([options] * len(rows))
        caches = _Caches(self._encoder, self._decoder, self._configuration, rows, options.num_beams)
        places = np.arange(len(rows))
        outputs: dict[int, GeneratedSequence] = {}
        while len(search):
            if watch.is_cancelled is not None and watch.is_cancelled():
                outputs |= {int(row): search.cut(place) for place, row in enumerate(places)}
                break
            logits = caches.step(search.next_tokens())
            found = search.advance(scores_of(logits, search.top, needs_log_sum_exp=search.needs_log_sum_exp))
            for place, token in found.told:
                if watch.on_token is not None:
                    watch.on_token(int(places[place]), token)
            outputs |= {int(places[place]): sequence for place, sequence in found.done.items()}
            kept = np.array([place for place in range(len(search)) if place not in found.done], dtype=np.int64)
            rows_of = np.arange(len(logits)).reshape(len(places), -1)
            if found.origins is not None:
                rows_of = np.take_along_axis(rows_of, found.origins, axis=1)
            caches.take(rows_of[kept].reshape(-1), kept)
            search.keep(kept)
            places = places[kept]
        return [outputs[row] for row in range(len(rows))]


class _Caches:
    """A batch in flight."""

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
        self._names = [
            f"{layer}.decoder.{part}" for layer in range(configuration.decoder_layers) for part in ("key", "value")
        ]
        ids, mask = pad(rows, configuration.pad_id)
        self._sources = encoded(encoder, ids, mask)
        first = next(iter(self._sources.values()))
        self._sources["encoder_attention_mask"] = mask
        self._bind_sources()
        empty = np.zeros((len(rows) * num_beams, first.shape[1], 0, first.shape[3]), dtype=np.float32)
        self._own = [OrtValue.ortvalue_from_numpy(empty) for _ in self._names]

    def step(self, tokens: Ids) -> Scores:
        """Runs the decoder on one token a row; returns logits `(rows, vocabulary)`, float32."""
        binding = self._binding
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(tokens[:, None]))
        for name, cache in zip(self._names, self._own, strict=True):
            binding.bind_ortvalue_input(f"past_key_values.{name}", cache)
        binding.clear_binding_outputs()
        for name in ["logits", *(f"present.{name}" for name in self._names)]:
            binding.bind_output(name, "cpu")
        without_denormals(self._decoder.run_with_iobinding, binding)
        logits, *self._own = binding.get_outputs()
        return np.asarray(logits.numpy()[:, -1, :], dtype=np.float32)

    def take(self, rows: Ids, inputs: Ids) -> None:
        """Makes row `i` continue what row `rows[i]` was, and keeps some inputs' sources alone."""
        if not np.array_equal(rows, np.arange(self._own[0].shape()[0])):
            self._own = [OrtValue.ortvalue_from_numpy(cache.numpy().take(rows, axis=0)) for cache in self._own]
        if len(inputs) < len(self._sources["encoder_attention_mask"]):
            self._sources = {name: values[inputs] for name, values in self._sources.items()}
            self._bind_sources()

    def _bind_sources(self) -> None:
        self._decoder_step = {
            name: OrtValue.ortvalue_from_numpy(values.repeat(self._num_beams, axis=0))
            for name, values in self._sources.items()
        }
        for name, value in self._decoder_step.items():
            self._binding.bind_ortvalue_input(name, value)
