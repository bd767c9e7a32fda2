"""Tries search settings on an open variant: how long each takes for a text, and how much quality it keeps.

Settings are timed in turns, one text at a time. Then settings that are faster than the model's own search generate for
dev pairs, and their scores are compared with that of the own search on the same pairs. `decoding_search` chooses.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from rich.progress import Progress

from slimseq.compression.compress.decoding.decoding_rows import OWN, DecodingRow
from slimseq.compression.compress.measuring import Judge
from slimseq.evaluation.bootstrap import PERCENTILES, retention_resamples
from slimseq.evaluation.dataset_files import Example
from slimseq.evaluation.metrics import MetricStatistics
from slimseq.evaluation.run import generate_with
from slimseq.evaluation.significance import MIN_SAMPLES
from slimseq.inference.generator import TextGenerator, TextOutput
from slimseq.models_store.generation import GenerationOptions

# Texts that every setting generates to be timed: at most, and at least. With fewer texts, fewer settings are timed.
# Each text is timed twice where there is time.
TIMED_TEXTS = 24
TIMED_ROUNDS = 2
MIN_TIMED_TEXTS = 3
# Dev pairs between two looks at the clock.
CHUNK_PAIRS = 16
# Pairs after which a setting ends early if it surely loses too much; again after twice as many, and so on.
CHECKED_PAIRS = 32
# A setting that is not faster than the model's own by this factor is not worth a loss. A busy machine shows as much.
MIN_SPEED_UP = 1.05
# Percentile of a one-sided 95 % lower bound. It is divided by the number of settings that are compared.
LOWER_PERCENTILE = 5.0


@dataclass
class Trial:
    """The open variant, the dev pairs in a random order, and the outputs of each setting so far.

    Attributes:
        generator: the open variant.
        examples: the dev pairs in a random order.
        judge: what decides the quality.
        tolerance: the share of quality that a setting may lose.
        confident: whether its lower bound must keep that.
        deadline: the time of `time.perf_counter` after which nothing begins.
        workers: number of batches that are generated at a time.
        own: the model's own search.
        compared: the number of settings that are compared.
        outputs: of each setting by its name, for the first pairs.
    """

    generator: TextGenerator
    examples: Sequence[Example]
    judge: Judge
    tolerance: float
    confident: bool
    deadline: float
    workers: int
    own: DecodingRow
    compared: int
    outputs: dict[str, list[TextOutput]] = field(default_factory=dict)

    def timed(self, rows: Sequence[DecodingRow], deadline: float, display: Progress) -> list[DecodingRow]:
        """Returns the settings that there was time for, with their seconds, the own search first.

        Every setting generates the same texts, one at a time. Each text begins with another setting.
        """
        options = {row.name: self._options(row) for row in rows}
        encodings = [self.generator.encode(each.source, each.prefix) for each in self.examples[:TIMED_TEXTS]]
        # The first generation allocates memory, and is not timed.
        self.generator.generate(encodings[:1], options[OWN])
        began = time.perf_counter()
        self.generator.generate(encodings[:1], options[OWN])
        of_one = time.perf_counter() - began
        # A setting is at most about as slow as the own search.
        affordable = int((deadline - began) / (of_one * MIN_TIMED_TEXTS))
        rows = rows[: max(affordable, 2)]
        seconds: dict[str, list[float]] = {row.name: [] for row in rows}
        bar = display.add_task("Timing search settings", total=TIMED_ROUNDS * len(encodings), status="", unit="texts")
        for turn in range(TIMED_ROUNDS * len(encodings)):
            if turn >= MIN_TIMED_TEXTS and time.perf_counter() > deadline:
                break
            round_number, text = divmod(turn, len(encodings))
            first = turn % len(rows)
            for row in [*rows[first:], *rows[:first]]:
                began = time.perf_counter()
                self.generator.generate([encodings[text]], options[row.name])
                elapsed = time.perf_counter() - began
                if round_number == 0:
                    seconds[row.name].append(elapsed)
                else:
                    # The shorter time of a text is the one that other processes disturbed less.
                    seconds[row.name][text] = min(elapsed, seconds[row.name][text])
            display.advance(bar)
        own = sum(seconds[OWN])
        return [
            replace(row, seconds=float(np.mean(seconds[row.name])), speed_up=own / sum(seconds[row.name]))
            for row in rows
        ]

    def measured(self, rows: Sequence[DecodingRow], display: Progress) -> list[DecodingRow]:
        """Returns the settings with their retention, as far as there is time.

        First the most promising settings are tried on as many pairs as there is time for a few of them. Then those that
        may still be chosen are measured on more pairs, in the same order. A setting is left out if it surely loses too
        much, or if it is no faster than one that keeps enough.
        """
        own = rows[0]
        candidates = [row for row in rows[1:] if row.speed_up >= MIN_SPEED_UP]
        # At least some of the own outputs are needed for their length.
        self._generate(own, min(MIN_TIMED_TEXTS if candidates else CHUNK_PAIRS, len(self.examples)))
        if not candidates:
            return [self._scored(own), *rows[1:]]
        found: dict[str, DecodingRow] = {}
        bar = display.add_task("Trying search settings", total=2 * len(candidates), status="", unit="settings")
        left = max(self.deadline - time.perf_counter(), 0)
        affordable = int(left / sum(row.seconds for row in (own, *candidates[:2])))
        for pairs in (max(affordable, CHECKED_PAIRS), len(self.examples)):
            best = None
            for row in candidates:
                display.update(bar, status=row.title)
                before = found.get(row.name)
                is_lost = before is not None and self._surely_loses(before)
                is_useless = best is not None and row.speed_up <= best.speed_up
                if not is_lost and not is_useless:
                    found[row.name] = self._tried(before or row, min(pairs, len(self.examples)))
                    if self._keeps(found[row.name]):
                        best = found[row.name]
                display.advance(bar)
        return [self._scored(own), *(found.get(row.name, row) for row in rows[1:])]

    def _keeps(self, row: DecodingRow) -> bool:
        return row.keeps(self.tolerance, confident=self.confident)

    def _surely_loses(self, row: DecodingRow) -> bool:
        return row.interval is not None and row.interval[1] < 1 - self.tolerance

    def _tried(self, row: DecodingRow, pairs: int) -> DecodingRow:
        """Measures a setting on so many pairs, or fewer if the time ends. One that surely loses too much ends early."""
        chunk_seconds = 0.0
        while len(self.outputs.get(row.name, ())) < pairs:
            began = time.perf_counter()
            if began + chunk_seconds > self.deadline:
                break
            done = min(len(self.outputs.get(row.name, ())) + CHUNK_PAIRS, pairs)
            for each in (self.own, row):
                self._generate(each, done)
            chunk_seconds = time.perf_counter() - began
            # After 32, 64, 128 … pairs.
            if done >= CHECKED_PAIRS and done & (done - 1) == 0 and done < pairs:
                measured = self._scored(row)
                if self._surely_loses(measured):
                    return measured
        is_scored = row.pairs > 0 and row.pairs == len(self.outputs[row.name])
        return row if is_scored else self._scored(row)

    def _generate(self, row: DecodingRow, pairs: int) -> None:
        """Generates with a setting until it has outputs for so many pairs."""
        outputs = self.outputs.setdefault(row.name, [])
        if len(outputs) < pairs:
            generate = generate_with(self.generator, self._options(row), self._batch, self.workers)
            outputs += generate(self.examples[len(outputs) : pairs])

    @property
    def _batch(self) -> int:
        return math.ceil(CHUNK_PAIRS / self.workers)

    def _options(self, row: DecodingRow) -> GenerationOptions:
        return self.generator.manifest.generation.options(**row.settings)

    def _scored(self, row: DecodingRow) -> DecodingRow:
        """Returns a setting with its retention on the pairs that it has outputs for."""
        if not self.outputs.get(row.name):
            return row
        pairs = len(self.outputs[row.name])
        tokens = float(np.mean([output.output_tokens for output in self.outputs[row.name]]))
        scored = replace(row, output_tokens=tokens)
        if pairs < MIN_SAMPLES:
            return scored
        setting, own = self._statistics(row.name, pairs), self._statistics(OWN, pairs)
        # An own search that scores 0 leaves nothing to compare with.
        if not own.value > 0:
            return scored
        return replace(scored, pairs=pairs, **_retention(setting, own, self.compared))

    def _statistics(self, name: str, pairs: int) -> MetricStatistics:
        texts = [output.text for output in self.outputs[name][:pairs]]
        return self.judge.statistics(self.examples[:pairs], texts)


def _retention(setting: MetricStatistics, own: MetricStatistics, tried: int) -> dict[str, Any]:
    """Returns the retention of a setting, its 95 % interval, and its lower bound among `tried` settings."""
    (resamples,) = retention_resamples([setting], own)
    # Bonferroni's correction: with more settings, one of them is lucky more often.
    low, high, bound = np.percentile(resamples, [*PERCENTILES, LOWER_PERCENTILE / tried])
    return {
        "retention": setting.value / own.value,
        "interval": (float(low), float(high)),
        "lower_bound": float(bound),
    }
