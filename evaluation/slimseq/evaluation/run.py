"""Evaluates variants of one task on the same samples in the same run, whoever generates.

The command line brings open generators (`generate_with`), the service's child process plans each text as a request's;
both become a `Generate`. Systems take turns chunk by chunk, so that a machine that slows down slows all of them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slimseq.evaluation.baselines import BASELINE_NAME, baseline
from slimseq.evaluation.bootstrap import interval, retention
from slimseq.evaluation.examples import DatasetSample, DatasetUnavailable, Example
from slimseq.evaluation.metrics import Scored, score
from slimseq.evaluation.results import BaselineResult, Evaluation, MetricResult, VariantResult
from slimseq.evaluation.significance import randomization_p_value
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.manifest import GenerationOptions, Task

CHUNK_EXAMPLES = 16

Generate = Callable[[Sequence[Example]], list[TextOutput]]
Progress = Callable[[int, int], None]


@dataclass
class _Tally:
    """What one system has made so far; `outputs` is keyed by the example's place in the sample."""

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
    """Generates with every system and scores what comes.

    Args:
        task: chooses metrics and baseline.
        sample: the examples.
        systems: by variant, what generates one output an example, in order. It is called with chunks of up to 16
            examples of similar length.
        references: for each system the one that its retention is relative to; a system that has none has no retention.
        generation: the settings that the systems generate with, for the record.
        progress: told `(texts generated, texts in all)` after each chunk of each system.

    Returns:
        Results in the order of `systems`.

    Raises:
        DatasetUnavailable: the sample is empty.
        ValueError: there are no systems, a reference is none of them, or a system lost an output.
    """
    references = references or {}
    if not systems:
        raise ValueError("there is no system to evaluate")
    for reference in references.values():
        if reference not in systems:
            raise ValueError(f"the reference {reference!r} is not among {', '.join(systems)}")
    if not sample.examples:
        raise DatasetUnavailable(f"{sample.name} holds no examples")
    tallies = _generate_all(sample.examples, systems, progress)
    targets = [example.target for example in sample.examples]
    trivial = score(task, [baseline(task, example.source) for example in sample.examples], targets)
    hypotheses = {name: _in_order(tally) for name, tally in tallies.items()}
    scored = {name: score(task, texts, targets) for name, texts in hypotheses.items()}
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
                _metric_results(scored[name], scored[references[name]] if name in references else None, trivial),
            )
            for name, tally in tallies.items()
        ),
    )


def generate_with(generator: TextGenerator, options: GenerationOptions, batch: int = CHUNK_EXAMPLES) -> Generate:
    """Makes an open artifact into a system to evaluate.

    Args:
        generator: stays open as long as the result is used.
        options: the settings of every generation.
        batch: how many texts are generated at once.

    Returns:
        A function that encodes examples, with their own prefix where they have one, and generates their outputs.
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
    for turn, places in enumerate(_chunks_of_like_length(examples)):
        for name in _rotated(list(systems), turn):
            started = time.perf_counter()
            outputs = systems[name]([examples[place] for place in places])
            tallies[name].seconds += time.perf_counter() - started
            tallies[name].outputs.update(zip(places, outputs, strict=True))
            if progress is not None:
                done = sum(len(tally.outputs) for tally in tallies.values())
                progress(done, len(examples) * len(systems))
    return tallies


def _chunks_of_like_length(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Yields places in `examples`, longest sources first: what needs most memory fails at once, not at the end."""
    places = sorted(range(len(examples)), key=lambda place: -len(examples[place].source))
    for start in range(0, len(places), CHUNK_EXAMPLES):
        yield places[start : start + CHUNK_EXAMPLES]


def _rotated(names: list[str], turn: int) -> list[str]:
    first = turn % len(names)
    return names[first:] + names[:first]


def _in_order(tally: _Tally) -> tuple[str, ...]:
    return tuple(tally.outputs[place].text for place in sorted(tally.outputs))


def _metric_results(scored: Scored, reference: Scored | None, trivial: Scored) -> tuple[MetricResult, ...]:
    results = []
    for name, statistics in scored.metrics.items():
        against = reference.metrics[name] if reference is not None else None
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
    metrics: tuple[MetricResult, ...],
) -> VariantResult:
    output_tokens = sum(output.output_tokens for output in tally.outputs.values())
    return VariantResult(
        variant=name,
        reference=reference,
        metrics=metrics,
        seconds=tally.seconds,
        output_tokens=output_tokens,
        tokens_per_second=output_tokens / tally.seconds if tally.seconds else 0.0,
        truncated=sum(output.truncated for output in tally.outputs.values()),
        hypotheses=hypotheses,
    )
