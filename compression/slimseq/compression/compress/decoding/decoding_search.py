"""Finds the search that a model needs: how many beams, early stopping and which length penalty.

Beam search costs time, and many models gain little by it. `decoding_trial` measures settings on dev pairs, on the
runtime that serves. The fastest that keeps enough of the quality of the model's own search is chosen. The technique
`decode` writes it into a variant.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from slimseq.compression.compress.decoding.decoding_rows import DecodingRow, rows_to_try
from slimseq.compression.compress.decoding.decoding_trial import Trial
from slimseq.compression.compress.measuring import Judge
from slimseq.compression.context import Context
from slimseq.evaluation.agreement import SIMILARITY_METRIC
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.fastest import default_layout
from slimseq.evaluation.host import available_cores
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task

# Share of the time that timing takes; measuring quality takes the rest.
TIMING_SHARE = 0.2
# Share of the time that is kept for scoring at the end.
SCORING_SHARE = 0.05
# Of settings whose speeds differ by less than this factor, the one with the most quality is chosen.
SAME_SPEED = 1.03


@dataclass(frozen=True)
class DecodingChoice:
    """The chosen search, and all that were tried, the model's own first.

    Attributes:
        chosen: the row of the chosen search.
        rows: one for each setting that was tried.
        metric: the metric of the retention.
        tolerance: the share of quality that the search was allowed to lose.
        in_words: one sentence for the user: what the chosen search is worth.
    """

    chosen: DecodingRow
    rows: tuple[DecodingRow, ...]
    metric: str
    tolerance: float
    in_words: str

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a `decode` step. Empty if the model's own search is the best."""
        return self.chosen.settings

    @property
    def name(self) -> str:
        return self.chosen.name

    @property
    def title(self) -> str:
        return self.chosen.title

    @property
    def output_tokens(self) -> float:
        """Mean number of output tokens of a text with the chosen search."""
        return self.chosen.output_tokens

    def faster_row(self, keep: float) -> DecodingRow | None:
        """Returns the fastest setting of those that are faster than the chosen one and alone keep a share of quality.

        It leaves less for other cuts than the chosen one does. None if there is no such setting.
        """
        good = [
            row for row in self.rows if row.speed_up > self.chosen.speed_up and row.keeps(1 - keep, confident=False)
        ]
        return max(good, key=lambda row: row.speed_up, default=None)

    def record(self) -> dict[str, Any]:
        return {
            "chosen": self.name,
            "rows": [vars(row) for row in self.rows],
            "metric": self.metric,
            "tolerance": self.tolerance,
            "in_words": self.in_words,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        rows = []
        for each in record["rows"]:
            interval = each["interval"]
            rows.append(DecodingRow(**{**each, "interval": tuple(interval) if interval is not None else None}))
        chosen = next(row for row in rows if row.name == record["chosen"])
        return cls(chosen, tuple(rows), record["metric"], record["tolerance"], record["in_words"])


def find_decoding(
    context: Context,
    task: Task,
    variant: str,
    examples: Sequence[Example],
    *,
    tolerance: float,
    seconds: float,
    judge: Judge | None = None,
    confident: bool = False,
) -> DecodingChoice:
    """Finds the fastest search that loses at most a share of a variant's quality, relative to its own search.

    The choice is the same again for the same pairs and seed, as far as measured times allow it.

    Args:
        context: of the store of the variant, with the seed of the order of the pairs.
        task: of the variant.
        variant: its name. It should be as it will be served, such as an int8 variant.
        examples: dev pairs. The more, the narrower the intervals.
        tolerance: the share of quality that may be lost.
        seconds: after which no further turn begins.
        judge: what decides the quality. By default chrF for translation and ROUGE-L for summarization.
        confident: whether a lower bound of the retention must reach `1 - tolerance`, and not only its value. That is
            for callers that do not confirm the result on other data.

    Raises:
        ValueError: there are no examples, or the tolerance is no share.
        UnknownVariant, InvalidArtifact, CorruptArtifact, RuntimeUnavailable: the variant cannot be opened.
    """
    if not examples:
        raise ValueError("there are no dev pairs to find a search on")
    if not 0 <= tolerance < 1:
        raise ValueError(f"the tolerance is {tolerance}; it is a share from 0 to below 1")
    judge = judge or Judge(task, SIMILARITY_METRIC[task])
    started = time.perf_counter()
    layout = default_layout(available_cores())
    order = np.random.default_rng(context.seed).permutation(len(examples))
    with (
        context.progress() as display,
        open_generator(context.store, task, variant, None, layout.threads, layout.workers) as generator,
    ):
        rows = rows_to_try(generator.manifest.generation)
        trial = Trial(
            generator=generator,
            examples=[examples[index] for index in order],
            judge=judge,
            tolerance=tolerance,
            confident=confident,
            deadline=started + (1 - SCORING_SHARE) * seconds,
            workers=layout.workers,
            own=rows[0],
            compared=len(rows),
        )
        if len(rows) > 1:
            rows = trial.timed(rows, started + TIMING_SHARE * seconds, display)
        measured = trial.measured(rows, display)
    return choose_decoding(measured, judge.name, tolerance, confident=confident)


def choose_decoding(
    rows: Sequence[DecodingRow], metric: str, tolerance: float, *, confident: bool = False
) -> DecodingChoice:
    """Chooses the fastest setting that keeps enough. Of settings that are about as fast, the one with most quality.

    The first row is the model's own search. `find_decoding` explains the other arguments.
    """
    own = rows[0]
    good = [row for row in rows[1:] if row.keeps(tolerance, confident=confident)]
    chosen = own
    if good:
        fastest = max(row.speed_up for row in good)
        chosen = max(
            (row for row in good if row.speed_up * SAME_SPEED >= fastest),
            key=lambda row: (row.retention or 0.0, row.speed_up),
        )
    return DecodingChoice(chosen, tuple(rows), metric, tolerance, _in_words(chosen, rows, metric, tolerance))


def _in_words(chosen: DecodingRow, rows: Sequence[DecodingRow], metric: str, tolerance: float) -> str:
    own, others = rows[0], rows[1:]
    if chosen is not own:
        return (
            f"Search: {chosen.title} instead of {own.title}: {chosen.speed_up:.2f} times as fast, with "
            f"{_kept(chosen)} of its {metric} on {chosen.pairs:,} pairs."
        )
    if not others:
        return f"Search: {own.title}, the model's own; nothing is faster."
    measured = [row for row in others if row.retention is not None]
    if not measured:
        return f"Search: {own.title}, the model's own; there was no time to measure what another one would lose."
    closest = max(measured, key=lambda row: row.retention or 0.0)
    return (
        f"Search: {own.title}, the model's own. None that is faster loses at most {tolerance:.1%}; the best, "
        f"{closest.title}, is {closest.speed_up:.2f} times as fast with {_kept(closest)} of its {metric}."
    )


def _kept(row: DecodingRow) -> str:
    assert row.retention is not None
    assert row.interval is not None
    low, high = row.interval
    return f"{row.retention:.1%} [{low:.1%}, {high:.1%}]"
