"""Times cuts of a model in turns with the whole model, and checks predictions of costs by such measurements."""

import random
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, Self

from slimseq.compression.artifacts.parent import Parent
from slimseq.compression.compress.costs import Cost, CostTable, kinds_of
from slimseq.compression.compress.loss_table import levels_of
from slimseq.compression.compress.timed_model import TimedModel, Workload, cut_for_timing, timed_model
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.layer_plan import STACKS, LayerPlan, PlannedLayer, whole_plan
from slimseq.compression.prune.trimmed_tokenizer import trim_tokenizer
from slimseq.compression.prune.vocabulary import plan_vocabulary, trim_model
from slimseq.inference.models.shortlist import read_shortlist
from slimseq.models_store.generation import GenerationOptions

# Share of the tokens that stay where the vocabulary is measured. Of a small vocabulary, half may not suffice to spell
# all texts.
VOCABULARY_SHARES = (0.5, 0.9)
# Share of the time of all measurements for the turns of one cut. Its export takes longer.
TURNS_SHARE = 0.025
# A turn generates all texts. There are fewer texts where there would be fewer turns.
MIN_TURNS = 3
# More turns would not make the time more exact.
MAX_TURNS = 25

# Seconds of the turns of each text, by stack.
Timings = defaultdict[str, defaultdict[int, list[float]]]


def _new_timings() -> Timings:
    return defaultdict(lambda: defaultdict(list))


def _undisturbed(turns: Sequence[float]) -> float:
    """Returns the lower quartile of the seconds of turns: other processes only ever make a turn longer."""
    return sorted(turns)[len(turns) // 4]


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


@dataclass(frozen=True)
class _Contender:
    """A model in turns with another, the texts in its own ids, and its times."""

    model: TimedModel
    rows: Sequence[Sequence[int]]
    timings: Timings = field(default_factory=_new_timings)

    def run(self, index: int, options: GenerationOptions) -> None:
        """Times one text."""
        for side, seconds in self.model.seconds(self.rows[index], options).items():
            self.timings[side][index].append(seconds)

    def seconds_of(self, side: str) -> float:
        """Returns the seconds of all texts in one graph."""
        return sum(map(_undisturbed, self.timings[side].values()))


class CostBench:
    """The whole model, open, and what is timed beside it."""

    def __init__(self, parent: Parent, workload: Workload, whole: TimedModel, turns_seconds: float) -> None:
        self._parent = parent
        self._workload = workload
        self._whole = whole
        self._turns_seconds = turns_seconds
        self._timings = _new_timings()

    @classmethod
    @contextmanager
    def open(cls, parent: Parent, workload: Workload, seconds: float) -> "Iterator[CostBench]":
        """Opens the whole model in int8. `seconds` is the time of all measurements together.

        A workload that takes long is reduced to fewer texts.

        Raises:
            BadSource: the model cannot be exported.
        """
        with timed_model(parent) as whole:
            turns_seconds = seconds * TURNS_SHARE
            started = time.monotonic()
            whole.seconds(workload.rows[len(workload.rows) // 2], workload.options)
            elapsed = time.monotonic() - started
            affordable = int(turns_seconds / (2 * MIN_TURNS * elapsed))
            bench = cls(parent, workload.first(min(max(affordable, 1), len(workload.rows))), whole, turns_seconds)
            bench._time(None)
            yield bench

    def whole_costs(self) -> dict[str, Cost]:
        """Returns the cost of each graph of the whole model, by stack, as the mean over texts."""
        return {
            side: Cost(mean(map(_undisturbed, self._timings[side].values())), self._whole.bytes[side])
            for side in STACKS
        }

    def measure(self, plan: LayerPlan) -> Relative:
        """Times a cut.

        Raises:
            BadParameters: the model cannot be cut to the plan.
        """
        model = self._parent.model
        with timed_model(self._parent, lambda: cut_for_timing(model, plan)) as timed:
            return Relative(self._time(timed), timed.bytes, model.config.vocab_size)

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
            with timed_model(self._parent, lambda: trim_model(model, kept), tokenizer_folder) as timed:
                return Relative(self._time(timed, rows), timed.bytes, len(kept))

    def _kept_tokens(self, context: Context, texts: Sequence[str]) -> list[int]:
        model, folder = self._parent.model, self._parent.folder
        for share in VOCABULARY_SHARES[:-1]:
            with suppress(BadParameters):
                return plan_vocabulary(model, folder, texts, int(model.config.vocab_size * share), context)
        limit = int(model.config.vocab_size * VOCABULARY_SHARES[-1])
        return plan_vocabulary(model, folder, texts, limit, context)

    def _time(self, timed: TimedModel | None, rows: Sequence[Sequence[int]] | None = None) -> dict[str, float]:
        """Times a model in turns with the whole model; returns the ratios of their seconds, by stack.

        Without a model, the whole model is timed alone. `rows` are the texts in the ids of the cut model.
        """
        rows = self._workload.rows if rows is None else rows
        whole = _Contender(self._whole, self._workload.rows)
        contenders = [whole] if timed is None else [whole, _Contender(timed, rows)]
        # The first run of a model allocates its memory.
        for each in contenders:
            each.run(0, self._workload.options)
            each.timings.clear()
        ends_at = time.monotonic() + self._turns_seconds
        turns = 0
        while turns == 0 or (turns < MAX_TURNS and time.monotonic() < ends_at):
            # All texts of a turn follow one another: a service too has the weights of one model in the CPU's caches.
            for each in contenders if turns % 2 else reversed(contenders):
                for index in range(len(rows)):
                    each.run(index, self._workload.options)
            turns += 1
        for side, by_row in whole.timings.items():
            for index, seconds in by_row.items():
                self._timings[side][index] += seconds
        return {side: contenders[-1].seconds_of(side) / whole.seconds_of(side) for side in STACKS}


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
