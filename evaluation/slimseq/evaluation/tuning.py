"""Measures layouts of one artifact: how many tokens a second all workers make together, the layouts taking turns."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from slimseq.evaluation.layouts import Layout
from slimseq.inference.generator import TextGenerator
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.manifest import GenerationOptions


def measure_layouts(
    generators: Mapping[Layout, TextGenerator],
    texts: Sequence[str],
    options: GenerationOptions,
    batch: int,
    repeats: int = 3,
) -> dict[Layout, float]:
    """Measures several layouts of one artifact in turns.

    Args:
        generators: the artifact, opened once for each layout, with its workers and threads.
        texts: what is read, the same for all; enough that every worker has several batches to take.
        options: the settings of every generation.
        batch: texts that a worker generates at once.
        repeats: how often all texts are generated in each layout, once untimed before.

    Returns:
        Output tokens a second of all workers together, by layout.

    Raises:
        ValueError: there are no texts, or `batch` or `repeats` is below 1.
        InvalidOptions: the model cannot follow the options.
    """
    if not texts or batch < 1 or repeats < 1:
        raise ValueError(f"cannot measure {repeats} repeats of {len(texts)} texts in batches of {batch}")
    tokens, seconds = dict.fromkeys(generators, 0), dict.fromkeys(generators, 0.0)
    for turn in range(repeats + 1):
        layouts = list(generators)
        for layout in layouts[turn % len(layouts) :] + layouts[: turn % len(layouts)]:
            made, taken = _run(generators[layout], layout.workers, texts, options, batch)
            # The first run of each warms up.
            if turn:
                tokens[layout] += made
                seconds[layout] += taken
    return {layout: tokens[layout] / seconds[layout] for layout in generators}


def _run(
    generator: TextGenerator, workers: int, texts: Sequence[str], options: GenerationOptions, batch: int
) -> tuple[int, float]:
    """Returns how many tokens all workers made, each of which takes a batch when it is done with one, and seconds."""
    generator.check(options)
    encodings = [generator.encode(text) for text in texts]
    # The longest first, so that no worker is left with a long batch at the end.
    encodings.sort(key=lambda encoding: -len(encoding.ids))
    batches = deque(encodings[start : start + batch] for start in range(0, len(encodings), batch))
    lock = threading.Lock()

    def work() -> int:
        made = 0
        while (taken := _next(batches, lock)) is not None:
            made += sum(output.output_tokens for output in generator.generate(taken, options))
        return made

    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        futures = [pool.submit(work) for _ in range(workers)]
        made = sum(future.result() for future in futures)
        return made, time.perf_counter() - started


def _next(batches: deque[list[Encoding]], lock: threading.Lock) -> list[Encoding] | None:
    with lock:
        return batches.popleft() if batches else None
