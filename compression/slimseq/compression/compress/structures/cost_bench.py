"""Times cuts of a model in turns with the whole model, and checks predictions of costs by such measurements."""

import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, Self

from slimseq.compression.artifacts.parent import Parent
from slimseq.compression.compress.structures.costs import Cost, CostTable, kinds_of
from slimseq.compression.compress.structures.loss_table import levels_of
from slimseq.compression.compress.structures.timed_model import (
    Int8Files,
    Workload,
    cut_for_timing,
    int8_files,
)
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import STACKS, LayerPlan, PlannedLayer, whole_plan
from slimseq.compression.prune.trimmed_tokenizer import trim_tokenizer
from slimseq.compression.prune.vocabulary import plan_vocabulary, trim_model
from slimseq.inference.models.shortlist import read_shortlist

# Share of the tokens that stay where the vocabulary is measured. Of a small vocabulary, half may not suffice to spell
# all texts.
VOCABULARY_SHARES = (0.5, 0.9)
# Share of the time of all measurements for timing one cut. Its export takes longer.
TIMING_SHARE = 0.04
# The place of a model's weights in memory makes it up to 8 % slower or faster, as long as it is open. Therefore each
# model is opened several times.
MIN_OPENINGS, MAX_OPENINGS = 3, 10
# How often all texts are generated in each opening.
PASSES = 2

# The mean seconds of a text in each opening, by stack.
Timings = dict[str, list[float]]


@dataclass(frozen=True)
class Relative:
    """The costs of a cut relative to those of the whole model."""

    ratios: Mapping[str, float]
    """Seconds in each graph, divided by those of the whole model, by stack."""
    bytes: Mapping[str, int]
    """Bytes of each graph, by stack."""
    tokens: int
    """Tokens of the vocabulary."""

    def difference(self, whole: Mapping[str, Cost], sides: Sequence[str]) -> Cost:
        """Returns what the cut costs more than the whole model in some graphs. It is usually below nothing."""
        seconds = sum(whole[side].seconds * (self.ratios[side] - 1) for side in sides)
        return Cost(seconds, sum(self.bytes[side] - whole[side].bytes for side in sides))


class CostBench:
    """The whole model, and what is timed beside it."""

    def __init__(self, parent: Parent, workload: Workload, whole: Int8Files, timing_seconds: float) -> None:
        self._parent = parent
        self._workload = workload
        self._whole = whole
        self._timing_seconds = timing_seconds
        self._whole_timings: Timings = {stack: [] for stack in STACKS}

    @classmethod
    @contextmanager
    def open(cls, parent: Parent, workload: Workload, seconds: float) -> "Iterator[CostBench]":
        """Writes the whole model in int8. `seconds` is the time of all measurements together.

        A workload that takes long is reduced to fewer texts.

        Raises:
            BadSource: the model cannot be exported.
        """
        # The whole model is written as its cuts are. Weights that were published in int8 need fewer operations than
        # others, and no trained cut has such weights.
        with int8_files(parent, lambda: parent.model) as whole:
            timing_seconds = seconds * TIMING_SHARE
            with whole.opened() as model:
                started = time.monotonic()
                model.seconds(workload.rows[len(workload.rows) // 2], workload.options)
                elapsed = time.monotonic() - started
            affordable = int(timing_seconds / (2 * PASSES * MIN_OPENINGS * elapsed))
            bench = cls(parent, workload.first(min(max(affordable, 1), len(workload.rows))), whole, timing_seconds)
            bench._time_once(whole, bench._workload.rows, bench._whole_timings)
            yield bench

    def whole_costs(self) -> dict[str, Cost]:
        """Returns the cost of each graph of the whole model, by stack: the mean over texts and openings."""
        return {side: Cost(mean(self._whole_timings[side]), self._whole.bytes[side]) for side in STACKS}

    def measure(self, plan: LayerPlan) -> Relative:
        """Times a cut.

        Raises:
            BadParameters: the model cannot be cut to the plan.
        """
        model = self._parent.model
        with int8_files(self._parent, lambda: cut_for_timing(model, plan)) as cut:
            return Relative(self._time(cut, self._workload.rows), cut.bytes, model.config.vocab_size)

    def measure_vocabulary(self, context: Context, texts: Sequence[str]) -> Relative:
        """Times the model with a part of its vocabulary: the tokens that texts use most.

        Raises:
            BadParameters: the vocabulary cannot be cut.
        """
        model, folder = self._parent.model, self._parent.folder
        kept = self._kept_tokens(context, texts)
        new_ids = {old: new for new, old in enumerate(kept)}
        rows = tuple(tuple(new_ids.get(token, 0) for token in row) for row in self._workload.rows)
        with TemporaryDirectory(prefix="slimseq-costs-") as name:
            tokenizer_folder = Path(name)
            trim_tokenizer(folder, tokenizer_folder, kept)
            shortlist = read_shortlist(folder, None, model.config.vocab_size)
            if shortlist is not None:
                shortlist.restricted(kept).write(tokenizer_folder)
            with int8_files(self._parent, lambda: trim_model(model, kept), tokenizer_folder) as cut:
                return Relative(self._time(cut, rows), cut.bytes, len(kept))

    def _kept_tokens(self, context: Context, texts: Sequence[str]) -> list[int]:
        model, folder = self._parent.model, self._parent.folder
        for share in VOCABULARY_SHARES[:-1]:
            with suppress(BadParameters):
                return plan_vocabulary(model, folder, texts, int(model.config.vocab_size * share), context)
        limit = int(model.config.vocab_size * VOCABULARY_SHARES[-1])
        return plan_vocabulary(model, folder, texts, limit, context)

    def _time(self, cut: Int8Files, rows: Sequence[Sequence[int]]) -> dict[str, float]:
        """Times a cut in turns with the whole model; returns the ratios of their seconds, by stack.

        `rows` are the texts in the ids of the cut.
        """
        whole_timings: Timings = {stack: [] for stack in STACKS}
        timings: Timings = {stack: [] for stack in STACKS}
        ends_at = time.monotonic() + self._timing_seconds
        openings = 0
        while openings < MIN_OPENINGS or (openings < MAX_OPENINGS and time.monotonic() < ends_at):
            self._time_once(self._whole, self._workload.rows, whole_timings)
            self._time_once(cut, rows, timings)
            openings += 1
        for side, seconds in whole_timings.items():
            self._whole_timings[side] += seconds
        return {side: mean(timings[side]) / mean(whole_timings[side]) for side in STACKS}

    def _time_once(self, files: Int8Files, rows: Sequence[Sequence[int]], timings: Timings) -> None:
        """Opens a model and generates all texts a few times; adds the mean over texts of the fastest time of each."""
        options = self._workload.options
        with files.opened() as model:
            # The first run of a model allocates its memory.
            model.seconds(rows[0], options)
            passes = [[model.seconds(row, options) for row in rows] for _ in range(PASSES)]
        for side in STACKS:
            # Whatever disturbs a text only makes it longer.
            fastest = [min(each[side] for each in of_text) for of_text in zip(*passes, strict=True)]
            timings[side].append(mean(fastest))


@dataclass(frozen=True)
class CheckedPrediction:
    """The cost of a shape as predicted and as measured."""

    plan: LayerPlan
    predicted: Cost
    measured: Cost

    @property
    def seconds_error(self) -> float:
        """How far the predicted time is from the measured one, as a share of the measured one."""
        return self.predicted.seconds / self.measured.seconds - 1

    @property
    def bytes_error(self) -> float:
        """How far the predicted size is from the measured one, as a share of the measured one."""
        return self.predicted.bytes / self.measured.bytes - 1

    @property
    def in_words(self) -> str:
        """One line: the layers, and what was predicted and measured."""
        layers = " and ".join(f"{len(layers)} {stack}" for stack, layers in self.plan.stacks.items())
        return (
            f"{layers} layers: {1000 * self.predicted.seconds:.1f} ms predicted, {1000 * self.measured.seconds:.1f} ms "
            f"measured ({self.seconds_error:+.1%}); {self.predicted.bytes / 1e6:.2f} MB predicted, "
            f"{self.measured.bytes / 1e6:.2f} MB measured ({self.bytes_error:+.1%})"
        )

    def record(self) -> dict[str, Any]:
        """Returns the row as JSON has it."""
        return {
            "plan": self.plan.record(),
            "predicted": self.predicted.record(),
            "measured": self.measured.record(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        plan = LayerPlan.from_record(record["plan"])
        return cls(plan, Cost(*record["predicted"]), Cost(*record["measured"]))


def check_predictions(
    context: Context, parent: Parent, workload: Workload, costs: CostTable, plans: Sequence[LayerPlan], seconds: float
) -> list[CheckedPrediction]:
    """Measures some shapes, and returns predictions beside measurements: at least one, and what there is time for.

    A machine may be busier than it was when the costs were measured. Therefore each shape is timed in turns with the
    whole model, and its measured time is its share of the whole model's time, multiplied by the whole model's time in
    the table of costs.

    Raises:
        BadParameters: the model cannot be cut to a plan.
        BadSource: the model cannot be exported.
    """
    deadline = time.monotonic() + seconds
    slowest = 0.0
    found: list[CheckedPrediction] = []
    with context.progress() as progress, CostBench.open(parent, workload, seconds) as bench:
        bar = progress.add_task("Checking predictions", total=len(plans), status="")
        for plan in plans:
            started = time.monotonic()
            if found and started + slowest > deadline:
                break
            relative = bench.measure(plan)
            slowest = max(slowest, time.monotonic() - started)
            by_side = bench.whole_costs()
            whole = sum(by_side.values(), Cost())
            measured = whole + relative.difference(by_side, STACKS)
            seconds = measured.seconds / whole.seconds * costs.predict(whole_plan(parent.model)).seconds
            found.append(CheckedPrediction(plan, costs.predict(plan), Cost(seconds, measured.bytes)))
            progress.advance(bar)
    return found


def random_plans(whole: LayerPlan, count: int, seed: int, shared_heads: Collection[str] = ()) -> list[LayerPlan]:
    """Returns plans with random layers, each with random sizes of the levels that are searched.

    Args:
        whole: the plan that keeps everything.
        count: number of plans.
        seed: of the random generator.
        shared_heads: stacks whose self-attentions keep the same heads in all layers.
    """
    generator = random.Random(seed)
    plans = []
    for _ in range(count):
        stacks = {}
        for stack, layers in whole.stacks.items():
            kept = sorted(generator.sample(range(len(layers)), generator.randint(1, len(layers))))
            cuts = [_random_cut(generator, layers[index]) for index in kept]
            if stack in shared_heads:
                cuts = [replace(each, heads=cuts[0].heads) for each in cuts]
            stacks[stack] = tuple(cuts)
        plans.append(LayerPlan(**stacks))
    return plans


def _random_cut(generator: random.Random, layer: PlannedLayer) -> PlannedLayer:
    sizes = {kind: generator.choice(levels_of(kind, getattr(layer, kind))) for kind in kinds_of(layer)}
    return replace(layer, **sizes)
