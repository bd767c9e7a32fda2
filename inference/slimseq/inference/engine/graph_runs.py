"""Runs the graphs of a model: the encoder, and the decoder with all inputs and outputs bound to fixed memory.

A step of `DecodeBatch` writes tokens and positions into the bound arrays, runs the decoder, and reads scores from bound
arrays. So nothing is allocated or copied in a step. The batch keeps each `BoundDecoder` until the memory of the caches
changes.

Denormal numbers are flushed to zero while a graph runs. A softmax gives masked and very low scores a probability near
1e-38, which float32 stores as a denormal number. Intel CPUs need about a hundred cycles for each (Intel 64 and IA-32
Architectures Optimization Reference Manual, "Floating-Point Exceptions/Denormals"). ONNX Runtime's
`session.set_denormal_as_zero` sets the threads of the session's pool, but not the thread that calls `run`.
"""

import ctypes
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime import OrtValue

from slimseq.inference.decoding.search import Ids, StepScores
from slimseq.inference.engine.beam_cache_index import attend_to_positions
from slimseq.inference.engine.memory import Array
from slimseq.inference.graphs.tensor_names import (
    CACHE_SLOTS,
    DISTANCES,
    LOG_SUM_EXP,
    LOGITS,
    POSITIONS,
    SELF_ATTENTION_BIAS,
    TOP_LOGITS,
    TOP_TOKENS,
)

Result = TypeVar("Result")

# The bits of the register MXCSR that flush denormal results (FTZ, bit 15) and operands (DAZ, bit 6) to zero. Source:
# Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3.
_FLUSH_TO_ZERO = 1 << 15 | 1 << 6


class _FloatingPointEnvironment(ctypes.Structure):
    """The System V ABI's `fenv_t` of x86-64."""

    _fields_ = (("x87", ctypes.c_uint32 * 7), ("mxcsr", ctypes.c_uint32))


def _load_c_library() -> ctypes.PyDLL | None:
    """Returns the C library, which sets a thread's floating-point environment; None on other platforms."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    # A `CDLL` would release the interpreter lock at every call and wait for it again.
    library = ctypes.PyDLL(None)
    return library if hasattr(library, "fesetenv") else None


_LIBRARY = _load_c_library()


def without_denormals(run: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function with denormal numbers flushed to zero in the calling thread.

    On platforms other than Linux on x86-64 it only calls the function.
    """
    if _LIBRARY is None:
        return run(*arguments)
    environment = _FloatingPointEnvironment()
    pointer = ctypes.byref(environment)
    _LIBRARY.fegetenv(pointer)
    before = environment.mxcsr
    environment.mxcsr = before | _FLUSH_TO_ZERO
    _LIBRARY.fesetenv(pointer)
    try:
        return run(*arguments)
    finally:
        environment.mxcsr = before
        _LIBRARY.fesetenv(pointer)


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Ids, Ids]:
    """Returns ids padded on the right and their attention mask, both `(rows, longest)`, int64."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for row, row_ids in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
        mask[row, : len(row_ids)] = 1
    return ids, mask


def run_encoder(
    encoder: ort.InferenceSession, ids: Ids, mask: Ids, options: ort.RunOptions | None = None
) -> dict[str, NDArray[Any]]:
    """Returns cross-attention keys and values by the names of the decoder's inputs, given ids and mask as of `pad`."""
    names = [output.name for output in encoder.get_outputs()]
    values = without_denormals(encoder.run, names, {"input_ids": ids, "attention_mask": mask}, options)
    return {name.replace("present.", "past_key_values."): value for name, value in zip(names, values, strict=True)}


def trimming() -> ort.RunOptions:
    """Returns options of a run that ends by giving back the memory which the session keeps in its arena."""
    options = ort.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


@dataclass(frozen=True)
class StepBuffers:
    """Inputs and outputs of one step other than caches, for a fixed number of rows.

    They outlive changes of the batch, because the first write to newly allocated memory is slow. Tokens, positions and
    slots are int64, others float32.

    Attributes:
        tokens: input, `(rows,)`: the token that each row feeds.
        positions: input, `(rows,)`: the position of that token.
        cache_slots: input, `(rows, heads, 4)`: where each row's new keys and values go, as indices `[input, head, 0,
            slot]`, with the heads of the layer that has most. Only the slots change between steps.
        logits: output, `(rows, vocabulary)`; or fewer columns, where a step needs no logits or those of candidates.
        top_logits: output, `(rows, top)`, best first.
        top_tokens: output, `(rows, top)`.
        log_sum_exp: output, `(rows, 1)`.
    """

    tokens: Array
    positions: Array
    cache_slots: Array
    logits: Array
    top_logits: Array
    top_tokens: Array
    log_sum_exp: Array

    @classmethod
    def of(cls, rows: int, heads: int, vocabulary: int, top: int) -> "StepBuffers":
        """Allocates buffers for `rows` rows."""
        cache_slots = np.zeros((rows, heads, 4), dtype=np.int64)
        cache_slots[:, :, 1] = np.arange(heads)
        return cls(
            np.zeros(rows, dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
            cache_slots,
            np.empty((rows, vocabulary), dtype=np.float32),
            np.empty((rows, top), dtype=np.float32),
            np.empty((rows, top), dtype=np.int64),
            np.empty((rows, 1), dtype=np.float32),
        )

    @property
    def rows(self) -> int:
        return len(self.tokens)

    def first(self, inputs: int, rows_an_input: int, logits: int) -> "StepBuffers":
        """Returns the buffers of the first rows, with cache slots of their own. `logits` of a row are all or 0."""
        rows = inputs * rows_an_input
        parts = {entry.name: getattr(self, entry.name)[:rows] for entry in fields(self)}
        parts["cache_slots"] = parts["cache_slots"].copy()
        parts["logits"] = parts["logits"][:, :logits]
        parts["cache_slots"][:, :, 0] = np.arange(rows)[:, None] // rows_an_input
        return replace(self, **parts)

    def without_top(self, columns: int) -> "StepBuffers":
        """Returns buffers of a step that computes logits of so many columns, but neither best tokens nor logsumexp."""
        return replace(
            self,
            logits=self.logits.reshape(-1)[: self.rows * columns].reshape(self.rows, columns),
            top_logits=self.top_logits[:0, :1],
            top_tokens=self.top_tokens[:0, :1],
            log_sum_exp=self.log_sum_exp[:0],
        )


class BoundDecoder:
    """The decoder with bound inputs and outputs, for a fixed number of rows and one memory of their caches."""

    def __init__(
        self,
        decoder: ort.InferenceSession,
        buffers: StepBuffers,
        fixed: Mapping[str, Array],
        updated_caches: Mapping[str, Array],
        run_options: ort.RunOptions | None = None,
    ) -> None:
        """Binds the session of `decoder.onnx` to buffers for exactly as many rows as the batch has.

        `fixed` inputs do not change between steps. `updated_caches` are outputs: the arrays of the matching inputs in
        `fixed`. `run_options` are those of each run.
        """
        self._decoder = decoder
        self._binding = decoder.io_binding()
        self._run_options = run_options
        self._buffers = buffers
        self._fixed = fixed
        available = {
            "input_ids": buffers.tokens,
            POSITIONS: buffers.positions,
            CACHE_SLOTS: buffers.cache_slots,
            **fixed,
        }
        # Each graph takes some of them: BART's has an input for absolute positions, T5's one for relative distances.
        inputs = {entry.name: available[entry.name] for entry in decoder.get_inputs()}
        outputs = {
            LOGITS: buffers.logits,
            TOP_LOGITS: buffers.top_logits,
            TOP_TOKENS: buffers.top_tokens,
            LOG_SUM_EXP: buffers.log_sum_exp,
            **updated_caches,
        }
        # By the array's identity: a cache that is both input and output has one OrtValue, and is updated in place.
        values: dict[int, OrtValue] = {}
        for bind, arrays in (
            (self._binding.bind_ortvalue_input, inputs),
            (self._binding.bind_ortvalue_output, outputs),
        ):
            for name, array in arrays.items():
                if id(array) not in values:
                    values[id(array)] = OrtValue.ortvalue_from_numpy(array)
                bind(name, values[id(array)])
        # They keep the arrays alive, whose memory the binding uses.
        self._values = list(values.values())

    def run(self, tokens: Ids, positions: Ids, slots: Ids) -> StepScores:
        """Feeds one token a row. The next run overwrites the returned arrays.

        Args:
            tokens: `(rows,)`.
            positions: how many tokens of the row come before its token, `(rows,)`.
            slots: where the token's keys and values are written in its input's caches, `(inputs, rows an input)`.
        """
        buffers = self._buffers
        buffers.tokens[:] = tokens
        buffers.positions[:] = positions
        buffers.cache_slots[:, :, 3] = slots.reshape(-1, 1)
        without_denormals(self._decoder.run_with_iobinding, self._binding, self._run_options)
        return StepScores(buffers.logits, buffers.top_logits, buffers.top_tokens, buffers.log_sum_exp[:, 0])

    def run_positions(self, tokens: Ids, positions: Ids) -> StepScores:
        """Feeds several consecutive tokens of each input, `(inputs, rows an input)`.

        Each token has the slot with the number of its position, and attends to all slots up to its own.
        """
        bias, distances = self._fixed[SELF_ATTENTION_BIAS], self._fixed[DISTANCES]
        shape = (*positions.shape, bias.shape[-1])
        attend_to_positions(positions, bias.reshape(shape), distances.reshape(shape))
        return self.run(tokens.reshape(-1), positions.reshape(-1), positions)
