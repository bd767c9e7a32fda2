"""Measures the candidates of a run: their outputs and scores on dev data, and their speed side by side.

Quality is measured on the runtime that serves, with the search of each variant. All variants are timed in one run, in
turns, one text at a time, in the layout of the service.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.scorer import run_scorer
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.step_keys import key_of
from slimseq.evaluation.benchmark import compare
from slimseq.evaluation.choice import statistics_of
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.fastest import default_layout
from slimseq.evaluation.host import available_cores
from slimseq.evaluation.metrics import MetricStatistics, score
from slimseq.evaluation.run import CHUNK_EXAMPLES, generate_with
from slimseq.inference.generator import open_generator
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.measurements import Performance
from slimseq.models_store.store import Store

# Pairs that show how long a variant takes for one pair.
PROBE_PAIRS = 16
# Texts that every variant generates for its speed, and how often each at most.
SPEED_TEXTS = 16
SPEED_REPEATS = 5


@dataclass(frozen=True)
class Judge:
    """What decides the quality of outputs: a metric, or a command of the user's."""

    task: Task
    metric: str
    scorer: str | None = None
    seconds: float | None = None
    """Time of one call of the scorer. None leaves it to `run_scorer`."""

    @property
    def name(self) -> str:
        return self.metric if self.scorer is None else "scorer"

    def statistics(self, examples: Sequence[Example], outputs: Sequence[str]) -> MetricStatistics:
        """Scores one output for each example."""
        targets = [example.target for example in examples]
        if self.scorer is None:
            return score(self.task, outputs, targets)[self.metric]
        numbers = run_scorer(self.scorer, [example.source for example in examples], outputs, targets, self.seconds)
        return statistics_of("scorer", numbers)


def seconds_of_a_pair(context: Context, store: Store, manifest: Manifest, dev: Sequence[Example]) -> float:
    """Returns how long a variant takes for one dev pair, in batches."""
    task, name = manifest.task, manifest.variant
    with open_generator(store, task, name, None, context.threads(), context.workers) as generator:
        generate = generate_with(generator, manifest.generation.options())
        generate(dev[:1])
        probe = dev[:PROBE_PAIRS]
        started = time.perf_counter()
        generate(probe)
        return (time.perf_counter() - started) / len(probe)


def generate_texts(
    context: Context, store: Store, manifest: Manifest, examples: Sequence[Example], doing: str
) -> list[str]:
    """Returns a variant's outputs with its own search on the runtime that serves, in the order of the examples."""
    task, name = manifest.task, manifest.variant
    # Texts of similar length share a batch, the longest first.
    order = sorted(range(len(examples)), key=lambda index: -len(examples[index].source))
    found: dict[int, str] = {}
    with (
        open_generator(store, task, name, None, context.threads(), context.workers) as generator,
        context.progress() as display,
    ):
        generate = generate_with(generator, manifest.generation.options(), workers=context.workers)
        bar = display.add_task(doing, total=len(examples), status="", unit="pairs")
        size = CHUNK_EXAMPLES * context.workers
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            outputs = generate([examples[index] for index in chunk])
            found |= {index: output.text for index, output in zip(chunk, outputs, strict=True)}
            display.advance(bar, len(chunk))
    return [found[index] for index in range(len(examples))]


def dev_outputs(
    context: Context, run: RunFolder, store: Store, manifest: Manifest, examples: Sequence[Example]
) -> list[str]:
    """Returns a variant's outputs for dev pairs. The run's folder keeps them."""
    key = key_of(manifest.digest, [(each.prefix, each.source) for each in examples])
    path = run.path / "outputs" / f"{manifest.variant}-{key.removeprefix('sha256:')[:16]}.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if len(kept) == len(examples):
            return [str(text) for text in kept]
    texts = generate_texts(context, store, manifest, examples, f"Measuring {manifest.variant}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(texts, ensure_ascii=False))
    return texts


def measure_speeds(
    context: Context, store: Store, manifests: Sequence[Manifest], dev: Sequence[Example], base: str, seconds: float
) -> Mapping[str, Performance]:
    """Times variants in turns, one text at a time, in the layout of the service; at most about `seconds`."""
    if not manifests:
        raise BadParameters("there is no variant to time")
    threads = default_layout(available_cores()).threads
    texts = [example.source for example in dev[:SPEED_TEXTS]]
    with ExitStack() as stack, context.working("Timing the variants side by side"):
        generators = {
            each.variant: stack.enter_context(open_generator(store, each.task, each.variant, None, threads))
            for each in manifests
        }
        return compare(
            generators,
            texts,
            {each.variant: each.generation.options() for each in manifests},
            repeats=SPEED_REPEATS,
            warmup=1,
            threads=threads,
            bases={each.variant: base for each in manifests if base in generators},
            seconds=seconds,
        )
