"""Evaluates variants of a task on the same samples in the same run.

A variant is a function from examples to outputs (`Generate`). The command line makes it from an open artifact
(`generate_with`), the service from its own request path. Systems take turns after each chunk, so that changes in the
machine's speed affect all of them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slimseq.evaluation.agreement import mean_agreement
from slimseq.evaluation.baselines import BASELINE_NAME, baseline
from slimseq.evaluation.bootstrap import interval, retention
from slimseq.evaluation.examples import DatasetSample, DatasetUnavailable, Example
from slimseq.evaluation.extractive import EXTRACTIVE_METRICS, describe
from slimseq.evaluation.metrics import Scored, score
from slimseq.evaluation.results import BaselineResult, Evaluation, MetricResult, VariantResult
from slimseq.evaluation.significance import randomization_p_value
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.manifest import GenerationOptions, MeanAgreement, Task

CHUNK_EXAMPLES = 16

Generate = Callable[[Sequence[Example]], list[TextOutput]]
Progress = Callable[[int, int], None]


@dataclass
class _Tally:
    """The outputs of one system so far, by the index of the example."""

    outputs: dict[int, TextOutput] = field(default_factory=dict)
    seconds: float = 0.0


def evaluate(
    task: Task,
    sample: DatasetSample,
    systems: Mapping[str, Generate],
    references: Mapping[str, str] | None = None,
    generation: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Generates with every system and scores the outputs.

    Args:
        task: chooses metrics and baseline.
        sample: the examples.
        systems: by variant, a function that generates one output for each example, in order. It is called with chunks
            of up to 16 examples of similar length.
        references: the reference of each system, for its retention; a system without one has no retention.
        generation: the generation options, for the record.
        progress: called with `(texts generated, texts in total)` after each chunk of each system.

    Returns:
        Results in the order of `systems`.

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
    tallies = _generate_all(sample.examples, systems, progress)
    targets = [example.target for example in sample.examples]
    sources = [example.source for example in sample.examples]
    trivial = _scored(task, sources, [baseline(task, source) for source in sources], targets)
    hypotheses = {name: _in_order(tally) for name, tally in tallies.items()}
    scored = {name: _scored(task, sources, texts, targets) for name, texts in hypotheses.items()}
    return Evaluation(
        task=task,
        dataset=sample.name,
        split=sample.split,
        samples=len(sample.examples),
        generation=dict(generation or {}),
        baseline=BaselineResult(
            name=BASELINE_NAME[task], values={name: each.value for name, each in trivial.metrics.items()}
        ),
        variants=tuple(
            _variant_result(
                name,
                references.get(name),
                tally,
                hypotheses[name],
                mean_agreement(task, hypotheses[name], hypotheses[references[name]]) if name in references else None,
                _metric_results(scored[name], scored[references[name]] if name in references else None, trivial),
            )
            for name, tally in tallies.items()
        ),
    )


def generate_with(generator: TextGenerator, options: GenerationOptions, batch: int = CHUNK_EXAMPLES) -> Generate:
    """Returns a system that generates with an open artifact.

    Args:
        generator: must stay open while the system is used.
        options: of every generation.
        batch: texts that are generated at once.

    Returns:
        A function that generates outputs for examples, with their own prefix if they have one.
    """

    def generate(examples: Sequence[Example]) -> list[TextOutput]:
        encodings = [generator.encode(example.source, example.prefix) for example in examples]
        return [
            output
            for start in range(0, len(encodings), batch)
            for output in generator.generate(encodings[start : start + batch], options)
        ]

    return generate


def _generate_all(
    examples: Sequence[Example],
    systems: Mapping[str, Generate],
    progress: Progress | None,
) -> dict[str, _Tally]:
    tallies = {name: _Tally() for name in systems}
    for turn, indices in enumerate(_chunks_by_length(examples)):
        for name in _rotated(list(systems), turn):
            started = time.perf_counter()
            outputs = systems[name]([examples[index] for index in indices])
            tallies[name].seconds += time.perf_counter() - started
            tallies[name].outputs.update(zip(indices, outputs, strict=True))
            if progress is not None:
                done = sum(len(tally.outputs) for tally in tallies.values())
                progress(done, len(examples) * len(systems))
    return tallies


def _chunks_by_length(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Yields indices of examples, longest sources first, so that a lack of memory shows at the start."""
    indices = sorted(range(len(examples)), key=lambda index: -len(examples[index].source))
    for start in range(0, len(indices), CHUNK_EXAMPLES):
        yield indices[start : start + CHUNK_EXAMPLES]


def _rotated(names: list[str], turn: int) -> list[str]:
    first = turn % len(names)
    return names[first:] + names[:first]


def _in_order(tally: _Tally) -> tuple[str, ...]:
    return tuple(tally.outputs[index].text for index in sorted(tally.outputs))


def _scored(task: Task, sources: Sequence[str], outputs: Sequence[str], targets: Sequence[str]) -> Scored:
    """Scores outputs; summaries are described too."""
    scored = score(task, outputs, targets)
    if task is not Task.SUMMARIZATION:
        return scored
    described = {each.metric: each for each in describe(sources, outputs, targets)}
    return Scored(task, {**scored.metrics, **described})


def _metric_results(scored: Scored, reference: Scored | None, trivial: Scored) -> tuple[MetricResult, ...]:
    results = []
    for name, statistics in scored.metrics.items():
        # More copied or longer is neither better nor worse, so that nothing is retained.
        is_quality = name not in EXTRACTIVE_METRICS
        against = reference.metrics[name] if reference is not None and is_quality else None
        kept = retention(statistics, against) if against is not None else None
        p_value = None
        if against is not None and against is not statistics:
            p_value = randomization_p_value(statistics, against)
        results.append(
            MetricResult(
                metric=name,
                value=statistics.value,
                interval=interval(statistics),
                signature=statistics.signature,
                samples=statistics.samples,
                retention=kept[0] if kept else None,
                retention_interval=kept[1] if kept else None,
                p_value=p_value,
                baseline=trivial.metrics[name].value,
            )
        )
    return tuple(results)


def _variant_result(
    name: str,
    reference: str | None,
    tally: _Tally,
    hypotheses: tuple[str, ...],
    agreement: MeanAgreement | None,
    metrics: tuple[MetricResult, ...],
) -> VariantResult:
    output_tokens = sum(output.output_tokens for output in tally.outputs.values())
    return VariantResult(
        variant=name,
        reference=reference,
        metrics=metrics,
        agreement=agreement,
        seconds=tally.seconds,
        output_tokens=output_tokens,
        tokens_per_second=output_tokens / tally.seconds if tally.seconds else 0.0,
        truncated=sum(output.truncated for output in tally.outputs.values()),
        hypotheses=hypotheses,
    )
