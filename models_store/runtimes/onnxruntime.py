"""ONNX Runtime on the CPU: `onnx/encoder.onnx` and `onnx/decoder.onnx` under our own search.

The encoder session also computes every layer's cross-attention keys and values; they are bound once for each
batch and never copied again. Self-attention caches stay in ONNX Runtime's memory from step to step.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue

from models_store.configuration import ModelConfiguration, read_configuration
from models_store.decoding.beam import beam_search
from models_store.decoding.greedy import greedy_search
from models_store.decoding.stepper import Ids, Scores
from models_store.errors import InvalidArtifact
from models_store.files import short_name
from models_store.manifest import GenerationOptions
from models_store.runtimes.protocol import Sequenced, Watch

ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"


class OnnxRuntime:
    """One artifact's encoder and decoder sessions."""

    name = "onnxruntime"

    def __init__(
        self, encoder: ort.InferenceSession, decoder: ort.InferenceSession, configuration: ModelConfiguration
    ) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._configuration = configuration

    def generate(
        self, rows: Sequence[Sequence[int]], options: GenerationOptions, watch: Watch | None = None
    ) -> list[Sequenced]:
        """Generates one output for each row, as `Runtime.generate` says."""
        if not rows:
            return []
        stepper = OnnxStepper(self._encoder, self._decoder, self._configuration, rows, options.num_beams)
        search = greedy_search if options.num_beams == 1 else beam_search
        return search(stepper, len(rows), options, self._configuration, watch or Watch())

    def close(self) -> None:
        """Drops both sessions, which frees their memory."""
        del self._encoder, self._decoder


class OnnxStepper:
    """A batch in flight: cross-attention caches bound once, self-attention caches replaced at each step."""

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
        self._self_names = [
            f"{layer}.decoder.{part}" for layer in range(configuration.decoder_layers) for part in ("key", "value")
        ]
        ids, mask = pad(rows, configuration.pad_id)
        cross_names = [output.name for output in encoder.get_outputs()]
        cross = encoder.run(cross_names, {"input_ids": ids, "attention_mask": mask})
        self._keep: list[OrtValue] = []
        for name, value in zip(cross_names, cross, strict=True):
            self._bind_input(name.replace("present.", "past_key_values."), value.repeat(num_beams, axis=0))
        self._bind_input("encoder_attention_mask", mask.repeat(num_beams, axis=0))
        heads, head_width = cross[0].shape[1], cross[0].shape[3]
        empty = np.zeros((len(rows) * num_beams, heads, 0, head_width), dtype=np.float32)
        self._caches = [OrtValue.ortvalue_from_numpy(empty) for _ in self._self_names]

    def step(self, tokens: Ids) -> Scores:
        """Runs the decoder on one token a row; returns logits `(rows, vocabulary)`, float32."""
        binding = self._binding
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(tokens[:, None]))
        for name, cache in zip(self._self_names, self._caches, strict=True):
            binding.bind_ortvalue_input(f"past_key_values.{name}", cache)
        binding.clear_binding_outputs()
        for name in ["logits", *(f"present.{name}" for name in self._self_names)]:
            binding.bind_output(name, "cpu")
        self._decoder.run_with_iobinding(binding)
        logits, *self._caches = binding.get_outputs()
        return np.asarray(logits.numpy()[:, -1, :], dtype=np.float32)

    def reorder(self, rows: Ids) -> None:
        """Moves self-attention caches to the rows that go on; cross-attention caches are the same for all beams."""
        if np.array_equal(rows, np.arange(len(rows))):
            return
        self._caches = [OrtValue.ortvalue_from_numpy(cache.numpy().take(rows, axis=0)) for cache in self._caches]

    def _bind_input(self, name: str, value: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> None:
        ort_value = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
        self._keep.append(ort_value)
        self._binding.bind_ortvalue_input(name, ort_value)


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, Ids]:
    """Returns ids padded on the right and their mask, both `(rows, longest)`, int64."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for row, row_ids in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
        mask[row, : len(row_ids)] = 1
    return ids, mask


def open_runtime(folder: Path, *, threads: int = 0) -> OnnxRuntime:
    """Opens an artifact's `onnx/` folder.

    Args:
        folder: the artifact's folder.
        threads: intra-operator threads; 0 takes one for each physical core.

    Raises:
        InvalidArtifact: a graph is missing or cannot be loaded.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena never gives memory back; without it an unloaded variant's bytes return to the system.
    options.enable_cpu_mem_arena = False
    sessions = []
    for name in (ENCODER, DECODER):
        path = folder / "onnx" / name
        try:
            sessions.append(ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        except Exception as error:  # the library's exceptions share no base of their own
            raise InvalidArtifact(f"{short_name(path)} cannot be opened: {str(error).splitlines()[0]}") from error
    return OnnxRuntime(sessions[0], sessions[1], read_configuration(folder))
