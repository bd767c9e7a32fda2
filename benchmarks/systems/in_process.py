"""The service's runtime in this process, without HTTP: what the service is compared with to know what it costs."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

from benchmarks.command import BenchmarkFailed
from benchmarks.loads.load import WARMUP_SHARE, Client, Figures, Outcome, Request, figures
from benchmarks.systems.servers import Setup
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.runtime import Engine
from slimseq.inference.tokenizer import Encoding


@dataclass(frozen=True)
class InProcess:
    """An open variant, with as many engines for continuous batching as the service has workers."""

    generator: TextGenerator
    workers: int
    requests: Sequence[Request]

    def closed(self, clients: int, seconds: float) -> Figures:
        """Returns the figures of engines that together always have as many inputs in flight as there are clients."""
        window = time.perf_counter() + seconds * WARMUP_SHARE
        with ThreadPoolExecutor(self.workers) as pool:
            running = []
            for worker in range(min(self.workers, clients)):
                engine = self.generator.engine()
                if engine is None:
                    raise BenchmarkFailed(f"{self.generator.runtime.name} has no engine for continuous batching")
                # The share of this worker, where the number of clients may not be divisible.
                in_flight = len(range(worker, clients, self.workers))
                # Each engine begins with another text.
                requests = islice(cycle(self.requests), len(self.requests) * worker // self.workers, None)
                running.append(pool.submit(self._run, engine, requests, in_flight, window + seconds))
            outcomes = [each for future in running for each in future.result()]
            return figures([each.since(window) for each in outcomes], seconds)

    def _run(self, engine: Engine, requests: Iterator[Request], in_flight: int, end: float) -> list[Outcome]:
        """Keeps so many inputs in flight in an engine until the time `end`. Returns the outcomes of ended ones."""
        inputs: dict[int, tuple[Encoding, float]] = {}
        outcomes: list[Outcome] = []
        while not outcomes or time.perf_counter() < end:
            while len(inputs) < in_flight:
                request, sent = next(requests), time.perf_counter()
                encoding = self.generator.encode(request.text)
                inputs[engine.add(encoding.ids, request.options)] = encoding, sent
            if engine.waiting:
                engine.admit()
            for key, progress in engine.step().items():
                if progress.ended is not None:
                    encoding, sent = inputs.pop(key)
                    tokens = self.generator.output(encoding, progress.ended).output_tokens
                    outcomes.append(Outcome(sent, time.perf_counter(), tokens))
        return outcomes


@contextmanager
def in_process(setup: Setup, service: Client) -> Iterator[InProcess]:
    """Opens the variant with the service's runtime, workers and threads, until the block ends."""
    workers, threads = setup.layout.workers, setup.layout.threads
    runtime = service.call("POST", service.path, service.requests[0].body)["runtime"]
    with open_generator(setup.store, setup.task, setup.variant, runtime, threads, workers) as generator:
        yield InProcess(generator, workers, service.requests)
