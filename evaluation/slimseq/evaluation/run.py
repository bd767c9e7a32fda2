"""Evaluates variants of a task on the same samples in the same run.

A variant is a function from examples to outputs (`Generate`). The command line makes it from an open artifact
(`generate_with`), the service from its own request path. Systems take turns after each chunk, so that changes in the
machine's speed affect all of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from slimseq.evaluation.agreement import mean_agreement
from slimseq.evaluation.bootstrap import interval, retention
from slimseq.evaluation.dataset_files import DatasetSample, DatasetUnavailable, Example
from slimseq.evaluation.metrics import BASELINE_NAME, MetricStatistics, baseline, score
from slimseq.evaluation.results import BaselineResult, EvaluationResult, VariantResult
from slimseq.evaluation.significance import MIN_SAMPLES, randomization_p_value
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import MetricResult

# Examples that a system generates before the next system takes its turn.
CHUNK_EXAMPLES = 16

# A system: returns one output for each example, in order.
Generate = Callable[[Sequence[Example]], list[TextOutput]]
# Gets the number of generated texts, and of all texts.
Progress = Callable[[int, int], None]
# Gets the system's name, the outputs of a chunk by the index of the example, and the seconds that the chunk took.
OnOutputs = Callable[[str, Mapping[int, TextOutput], float], None]
Metrics = Mapping[str, MetricStatistics]


@dataclass
class Tally:
    """The outputs of one system so far, by the index of the example, and the seconds that the system took."""

    outputs: dict[int, TextOutput] = field(default_factory=dict)
    seconds: float = 0.0


def evaluate(
    task: Task,
    sample: DatasetSample,
    systems: Mapping[str, Generate],
    references: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    *,
    tallies: Mapping[str, Tally] | None = None,
    on_outputs: OnOutputs | None = None,
    chunk_examples: int = CHUNK_EXAMPLES,
) -> EvaluationResult:
    """Generates with every system and scores the outputs; returns results in the order of `systems`.

    A system generates one output for each example, in order, given chunks of examples of similar length. A system
    without a reference has no retention.

    `progress` is called with `(texts generated, texts in total)`. `on_outputs` is called after each chunk of each
    system, with the system's name, the outputs of the chunk by the index of the example, and the seconds of the chunk.
    `tallies` has outputs of an earlier run of the same systems on the same sample. They are not generated again.

    Raises:
        DatasetUnavailable: the sample is empty.
        ValueError: there are no systems, a reference is not a system, or a system returned too few outputs.
    """
    references = references or {}
    if not systems:
        raise ValueError("there is no system to evaluate")
    for reference in references.values():
        if reference not in systems:
            raise ValueError(f"the reference {reference!r} is not among {', '.join(systems)}")
    if not sample.examples:
        raise DatasetUnavailable(f"{sample.name} has no examples")
    found = {name: (tallies or {}).get(name) or Tally() for name in systems}
    _generate_all(sample.examples, chunk_examples, systems, found, progress, on_outputs)
    examples = sample.examples
    sources, targets = [example.source for example in examples], [example.target for example in examples]
    trivial = score(task, [baseline(task, source) for source in sources], targets)
    hypotheses = {
        name: tuple(tally.outputs[index].text for index in range(len(examples))) for name, tally in found.items()
    }
    scored = {name: score(task, texts, targets) for name, texts in hypotheses.items()}

    def result(name: str, tally: Tally) -> VariantResult:
        reference = references.get(name)
        output_tokens = sum(output.output_tokens for output in tally.outputs.values())
        return VariantResult(
            variant=name,
            reference=reference,
            metrics=_metric_results(scored[name], scored[reference] if reference is not None else None, trivial),
            agreement=mean_agreement(task, hypotheses[name], hypotheses[reference]) if reference is not None else None,
            seconds=tally.seconds,
            output_tokens=output_tokens,
            tokens_per_second=output_tokens / tally.seconds if tally.seconds else 0.0,
            truncated=sum(output.truncated for output in tally.outputs.values()),
            hypotheses=hypotheses[name],
        )

    return EvaluationResult(
        task=task,
        dataset=sample.name,
        split=sample.split,
        samples=len(examples),
        baseline=BaselineResult(name=BASELINE_NAME[task], values={name: each.value for name, each in trivial.items()}),
        variants=tuple(result(name, tally) for name, tally in found.items()),
    )


def generate_with(
    generator: TextGenerator, options: GenerationOptions, batch: int = CHUNK_EXAMPLES, workers: int = 1
) -> Generate:
    """Returns a system that generates with an open artifact. An example may have a prefix of its own.

    A batch has `batch` texts. `workers` batches are generated at a time.
    """

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        encodings = [generator.encode(example.source, example.prefix) for example in examples]
        batches = [encodings[start : start + batch] for start in range(0, len(encodings), batch)]
        run = partial(generator.generate, options=options)
        if workers == 1:
            return list(chain.from_iterable(map(run, batches)))
        with ThreadPoolExecutor(workers) as pool:
            return list(chain.from_iterable(pool.map(run, batches)))

    return generate


def _generate_all(
    examples: Sequence[Example],
    chunk_examples: int,
    systems: Mapping[str, Generate],
    tallies: Mapping[str, Tally],
    progress: Progress | None,
    on_outputs: OnOutputs | None,
) -> None:
    # The longest sources come first, so that a lack of memory shows at the start.
    order = sorted(range(len(examples)), key=lambda index: -len(examples[index].source))
    names = list(systems)
    for turn, start in enumerate(range(0, len(order), chunk_examples)):
        # Each chunk begins with another system, so that no system always finds the CPU caches of the same other system.
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            tally = tallies[name]
            indices = [index for index in order[start : start + chunk_examples] if index not in tally.outputs]
            if not indices:
                continue
            started = time.perf_counter()
            outputs = dict(zip(indices, systems[name]([examples[index] for index in indices]), strict=True))
            seconds = time.perf_counter() - started
            tally.seconds += seconds
            tally.outputs.update(outputs)
            if on_outputs is not None:
                on_outputs(name, outputs, seconds)
            if progress is not None:
                done = sum(len(each.outputs) for each in tallies.values())
                progress(done, len(examples) * len(systems))


def _metric_results(scored: Metrics, reference: Metrics | None, trivial: Metrics) -> tuple[MetricResult, ...]:
    results = []
    for name, statistics in scored.items():
        compared = reference[name] if reference is not None else None
        # A reference that scores 0 has no retention.
        found = retention(statistics, compared) if compared is not None else None
        kept, kept_interval = found or (None, None)
        p_value = None
        if compared is not None and compared is not statistics and statistics.samples >= MIN_SAMPLES:
            p_value = randomization_p_value(statistics, compared)
        results.append(
            MetricResult(
                metric=name,
                value=statistics.value,
                interval=interval(statistics),
                signature=statistics.signature,
                samples=statistics.samples,
                retention=kept,
                retention_interval=kept_interval,
                p_value=p_value,
                baseline=trivial[name].value,
            )
        )
    return tuple(results)
