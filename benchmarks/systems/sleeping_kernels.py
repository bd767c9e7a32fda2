"""Slimseq's service whose kernels sleep: an encoder run and a decoder step take a fixed time, and no CPU.

So one machine with two cores shows how one process behaves on many: everything but the kernels is the real service, and
what is left of a request's CPU time is work of Python, nearly all of it with the interpreter lock held.

`measure_kernels` measures the times. `python -m benchmarks.systems.sleeping_kernels TIMES` starts the service, with the
settings of `SLIMSEQ_*`. TIMES is JSON of `KernelTimes`, with `reuse_port` beside it.
"""

import json
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial, partialmethod
from typing import Any
from unittest.mock import patch

import numpy as np
import onnxruntime as ort
import uvloop

from slimseq.inference.decoding.search import Ids, StepScores
from slimseq.inference.engine import decode_batch, engine
from slimseq.inference.engine.graph_runs import BoundDecoder, run_encoder
from slimseq.inference.generator import TextGenerator
from slimseq.models_store.generation import GenerationOptions

MODULE = "benchmarks.systems.sleeping_kernels"
# Inputs in flight of the two batches that are measured. The time of a step grows about linearly between them.
SMALL_BATCH = 1
LARGE_BATCH = 8
# Times that the texts of a batch are generated. The first one warms up.
REPEATS = 4
# An ordinary token of every vocabulary, beyond the special ones. The best token of a step is so many after it as the
# row has tokens, so that no output repeats itself.
TOKEN = 40


@dataclass(frozen=True)
class KernelTimes:
    """CPU seconds of kernels on one core. `rows` of a step are inputs times beams."""

    encoder_token: float
    step: float
    row: float

    def times(self, factor: float) -> "KernelTimes":
        return KernelTimes(self.encoder_token * factor, self.step * factor, self.row * factor)

    def request(self, input_tokens: float, steps: float, rows: float, inputs: float) -> float:
        """Returns the seconds of a request's share of the kernels: `inputs` share each step, whose rows are `rows`."""
        return input_tokens * self.encoder_token + steps * (self.step + self.row * rows) / inputs


def measure_kernels(generator: TextGenerator, texts: Sequence[str], options: GenerationOptions) -> KernelTimes:
    """Measures the kernels of an open generator with one thread, by the CPU time of that thread.

    The time of other processes does not count, so a busy machine changes little.
    """
    steps: list[tuple[int, float]] = []
    encoded: list[tuple[int, float]] = []

    class TimedDecoder(BoundDecoder):
        def run(self, tokens: Ids, positions: Ids, slots: Ids) -> StepScores:
            started = time.thread_time()
            scores = super().run(tokens, positions, slots)
            steps.append((len(tokens), time.thread_time() - started))
            return scores

    def timed_encoder(
        encoder: ort.InferenceSession, ids: Ids, mask: Ids, options: ort.RunOptions | None = None
    ) -> dict[str, Any]:
        started = time.thread_time()
        values = run_encoder(encoder, ids, mask, options)
        encoded.append((ids.size, time.thread_time() - started))
        return values

    seconds: dict[int, tuple[float, float]] = {}
    with (
        patch.object(decode_batch, "BoundDecoder", TimedDecoder),
        patch.object(engine, "run_encoder", timed_encoder),
    ):
        rows = [generator.encode(text).ids for text in texts]
        for batch in (SMALL_BATCH, LARGE_BATCH):
            for repeat in range(REPEATS):
                if repeat == 1:
                    steps.clear()
                    encoded.clear()
                for first in range(0, len(rows), batch):
                    generator.runtime.generate(rows[first : first + batch], options)
            # Inputs end at different steps: the mean of rows is not the size of the batch.
            mean_rows, mean_seconds = np.mean(steps, axis=0)
            seconds[batch] = float(mean_rows), float(mean_seconds)
    (few, step_of_few), (many, step_of_many) = seconds[SMALL_BATCH], seconds[LARGE_BATCH]
    row = max((step_of_many - step_of_few) / (many - few), 0.0) if many > few else 0.0
    tokens, encoder_seconds = np.sum(encoded, axis=0)
    return KernelTimes(float(encoder_seconds / tokens), max(step_of_few - row * few, 0.0), row)


def let_kernels_sleep(times: KernelTimes) -> None:
    """Replaces the kernels of all engines in this process. Outputs mean nothing, and end where their options say."""

    class SleepingDecoder(BoundDecoder):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            buffers = self._buffers
            self._columns = TOKEN + np.arange(buffers.top_tokens.shape[1])
            buffers.logits[:] = 0
            buffers.log_sum_exp[:] = 1
            # Scores fall from the best token on.
            if len(buffers.top_logits):
                buffers.top_logits[:] = -np.linspace(0, 1, buffers.top_logits.shape[1])

        def run(self, tokens: Ids, positions: Ids, slots: Ids) -> StepScores:
            buffers = self._buffers
            buffers.tokens[:] = tokens
            buffers.positions[:] = positions
            buffers.cache_slots[:, :, 3] = slots.reshape(-1, 1)
            time.sleep(times.step + times.row * len(tokens))
            if len(buffers.top_tokens):  # A model with a shortlist has its logits alone.
                buffers.top_tokens[:] = positions[:, None] + self._columns
            return StepScores(buffers.logits, buffers.top_logits, buffers.top_tokens, buffers.log_sum_exp[:, 0])

    # Results of the encoder by the shape of its input: it runs once for each shape.
    known: dict[tuple[int, ...], dict[str, Any]] = {}

    def sleeping_encoder(
        encoder: ort.InferenceSession, ids: Ids, mask: Ids, options: ort.RunOptions | None = None
    ) -> dict[str, Any]:
        if ids.shape not in known:
            known[ids.shape] = run_encoder(encoder, ids, mask)
        else:
            time.sleep(times.encoder_token * ids.size)
        return known[ids.shape]

    patch.object(decode_batch, "BoundDecoder", SleepingDecoder).start()
    patch.object(engine, "run_encoder", sleeping_encoder).start()


def share_port() -> None:
    """Lets several processes listen on one port: the system chooses the process of each connection."""
    # The loop that uvicorn takes.
    patch.object(uvloop.Loop, "create_server", partialmethod(uvloop.Loop.create_server, reuse_port=True)).start()
    # The service tries the address before it loads variants.
    patch.object(socket, "create_server", partial(socket.create_server, reuse_port=True)).start()


def server_arguments(times: KernelTimes, reuse_port: bool = False) -> list[str]:
    """Returns the arguments of Python that start the service."""
    return ["-m", MODULE, json.dumps({**asdict(times), "reuse_port": reuse_port})]


if __name__ == "__main__":
    from slimseq.app.__main__ import main

    given = json.loads(sys.argv[1])
    if given.pop("reuse_port"):
        share_port()
    let_kernels_sleep(KernelTimes(**given))
    sys.exit(main())
