"""Finds shapes to train: measures what structures cost and are worth, and searches at each of a few speeds or sizes.

The proposals of the search are ranked by their true divergence from the original. `shape_candidates` trains the best.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

from slimseq.compression.artifacts.parent import Parent, open_parent
from slimseq.compression.compress.decoding.decoding_search import DecodingChoice
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.start.changed_options import BETWEEN, COSTS, SHAPES, trainings
from slimseq.compression.compress.structures.cost_measurement import measure_costs
from slimseq.compression.compress.structures.costs import CostTable
from slimseq.compression.compress.structures.effort import least_seconds
from slimseq.compression.compress.structures.loss_table import LossTable
from slimseq.compression.compress.structures.losses import divergence, measure_losses
from slimseq.compression.compress.structures.shape_search import largest_target, search
from slimseq.compression.compress.structures.timed_model import Workload
from slimseq.compression.compress.time_plan import COSTS_SHARE, LOSSES_SHARE, RANKING_SHARE
from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.choose_parts import choose_parts
from slimseq.compression.prune.cut_to_plan import cut_to_plan
from slimseq.compression.prune.layer_plan import LayerPlan, whole_plan
from slimseq.compression.prune.ranked_parts import moments_folder
from slimseq.compression.prune.vocabulary import plan_vocabulary_of
from slimseq.compression.train.data.training_data import TrainingSet, read_examples
from slimseq.evaluation.choice import Aim

# Number of speeds (or sizes) to search shapes for. They are spaced evenly by their ratio, between the whole model in
# int8 and the smallest shape.
TARGETS = 4
# Number of speeds between these that the time at the end goes to.
TARGETS_BETWEEN = 2
# Texts that say which tokens a smaller vocabulary has, for the measurement of its cost.
VOCABULARY_TEXTS = 5000
# A vocabulary is cut to the tokens that the training data uses where at most this share of the tokens stays.
USED_TOKENS_SHARE = 0.9
# Shapes of a target whose true divergence is measured.
RANKED_SHAPES = 2
# Pairs for the moments and the fits: the Wanda paper and SparseGPT use 128. A slow model gets fewer of them.
CALIBRATION_PAIRS = range(16, 129)
# Pairs on which divergences are measured.
PROBE_PAIRS = 48


@dataclass(frozen=True)
class Shape:
    """A shape to train."""

    name: str
    """Of the candidate that it becomes."""
    plan: LayerPlan
    target: float
    is_uniform: bool
    seconds: float
    """Predicted seconds of one text."""
    divergence: float
    """From the original's outputs after the cut and the fit, before any training; nats a target token."""

    def title(self, aim: Aim) -> str:
        """Returns what it is, in a few words for tables."""
        kind = "uniform" if self.is_uniform else "searched"
        what = "the speed of" if aim == "fastest" else "as small as"
        counts = [f"{len(layers)} {stack}" for stack, layers in self.plan.stacks.items()]
        return f"{' and '.join(counts)} layers, {kind} for {self.target:g} times {what} int8"

    def record(self) -> dict[str, Any]:
        return {**vars(self), "plan": self.plan.record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(**{**record, "plan": LayerPlan.from_record(record["plan"])})


class ShapeFinder:
    """The part that needs the original's weights. They are read when they are needed, and only then."""

    def __init__(self, run: Run, decoding: DecodingChoice) -> None:
        self._run = run
        self._decoding = decoding
        self._parent: Parent | None = None

    @property
    def parent(self) -> Parent:
        if self._parent is None:
            run = self._run
            self._parent = open_parent(run.own_context, run.original.task, run.original.variant, run.name("shape"))
        return self._parent

    @property
    def cache(self) -> Path:
        """The folder of the original's moments, which the trainings use too."""
        return moments_folder(self._run.build_folder, self._run.original)

    def close(self) -> None:
        self._parent = None

    def whole(self) -> LayerPlan:
        """Returns the plan that keeps everything."""
        return LayerPlan.from_record(
            self._run.folder.find_or_make("whole", lambda: whole_plan(self.parent.model).record())
        )

    def calibration(self) -> TrainingSet:
        """Returns the pairs for moments and fits."""
        return self._pairs(slice(None, calibration_pairs(self._run)))

    def probes(self) -> TrainingSet:
        """Returns other pairs, on which divergences are measured."""
        return self._pairs(slice(-PROBE_PAIRS, None))

    def _pairs(self, part: slice) -> TrainingSet:
        examples = read_examples(self._run.original.task, [str(self._run.data.calibration)])[part]
        prefix = self.parent.manifest.generation.prefix
        return TrainingSet(examples, self.parent.tokenizer, prefix, self.parent.limits)

    def costs(self) -> CostTable:
        run = self._run

        def measure() -> dict[str, Any]:
            texts = [example.source for example in run.choosing]
            options = run.original.generation.options(**self._decoding.settings)
            workload = Workload.of(self.parent, texts, self._decoding.output_tokens, options)
            seconds = run.plan.part(COSTS_SHARE)
            return measure_costs(run.own_context, self.parent, workload, seconds, self._vocabulary_texts()).record()

        return CostTable.from_record(run.folder.find_or_make(COSTS, measure))

    def _vocabulary_texts(self) -> list[str]:
        """Returns inputs and outputs as the model reads and writes them."""
        prefix = self.parent.manifest.generation.prefix
        examples = read_examples(self._run.original.task, self._run.data.train, VOCABULARY_TEXTS)
        return [text for each in examples for text in ((each.prefix or prefix) + each.source, each.target)]

    def used_tokens(self) -> int | None:
        """Returns how many tokens the training data uses; None if the vocabulary stays whole.

        It stays whole if nearly all tokens are used, if the model cannot do without the others, or if their cost is not
        known.
        """
        run, costs = self._run, self.costs()

        def count() -> int | None:
            parent = self.parent
            examples = read_examples(run.original.task, run.data.train)
            try:
                kept = plan_vocabulary_of(parent, examples, 0, run.own_context)
            except BadParameters:
                return None
            return len(kept) if len(kept) <= USED_TOKENS_SHARE * parent.model.config.vocab_size else None

        if costs.vocabulary is None:
            return None
        tokens: int | None = run.folder.find_or_make("used tokens", count)
        return tokens

    def targets(self) -> list[float]:
        """Returns the speeds (or sizes) to search for, as multiples of the whole model's in int8."""
        aim = self._run.options.aim
        largest = largest_target(self.whole(), self.losses(), self.costs(), aim, self.used_tokens())
        return [round(largest ** (step / (TARGETS + 1)), 2) for step in range(1, TARGETS + 1)]

    def least_seconds_of_losses(self) -> float:
        """Returns about how long it takes at least to measure what the layers are worth."""
        seconds: float = self._run.folder.find_or_make(
            "least seconds of losses", lambda: least_seconds(self.parent.model, self.probes(), self._run.own_context)
        )
        return seconds

    def losses(self) -> LossTable:
        run = self._run

        def measure() -> dict[str, Any]:
            table = measure_losses(
                self.parent.model,
                self.calibration(),
                self.probes(),
                run.own_context,
                seconds=run.plan.part(LOSSES_SHARE),
                cache=self.cache,
            )
            return table.record()

        return LossTable.from_record(run.folder.find_or_make("losses", measure))

    def find_shapes(self) -> list[Shape]:
        """Returns the shapes to train: of each target the one with the least divergence, and the uniform cut."""

        def find() -> list[dict[str, Any]]:
            return [shape.record() for shape in self._shapes_at(self.targets(), first_index=0)]

        return [Shape.from_record(record) for record in self._run.folder.find_or_make(SHAPES, find)]

    def find_shape_between(self, target: float, number: int) -> Shape | None:
        """Returns the shape with the least divergence at a target between others; None if no shape reaches it.

        Args:
            target: how many times as fast (or as small) as the whole model in int8.
            number: how many such targets there were before this one.
        """

        def find() -> list[dict[str, Any]]:
            shapes = self._shapes_at([target], first_index=TARGETS + number)
            return [shape.record() for shape in sorted(shapes, key=lambda shape: shape.divergence)]

        records = self._run.folder.find_or_make(f"{BETWEEN}{number}", find)
        return Shape.from_record(records[0]) if records else None

    def _shapes_at(self, targets: Sequence[float], first_index: int) -> list[Shape]:
        """Returns the best shape and the uniform cut at each target.

        Where time is short, the estimate of the search takes the place of the measured divergence.
        """
        run, aim, tokens = self._run, self._run.options.aim, self.used_tokens()
        found = search(self.whole(), self.losses(), self.costs(), targets, aim, RANKED_SHAPES, tokens)
        deadline = time.monotonic() + run.plan.part(RANKING_SHARE)
        divergences: list[float] = []
        for each in found:
            is_late = time.monotonic() > deadline
            divergences.append(each.loss if is_late else self._divergence(each.plan))
        shapes = []
        for (index, target), is_uniform in product(enumerate(targets, first_index), (False, True)):
            proposals = [
                (measured, each)
                for measured, each in zip(divergences, found, strict=True)
                if each.target == target and each.is_uniform == is_uniform
            ]
            if not proposals:
                continue
            measured, best = min(proposals, key=lambda proposal: proposal[0])
            name = shape_name(run, index, is_uniform)
            shapes.append(Shape(name, best.plan, target, is_uniform, best.predicted.seconds, measured))
        return shapes

    def _divergence(self, plan: LayerPlan) -> float:
        run, model = self._run, self.parent.model
        kept, fitted = choose_parts(model, plan, self.calibration(), run.own_context, self.cache)
        cut = cut_to_plan(model, plan, kept, fitted)
        return divergence(model, cut, self.probes(), run.own_context)


def shape_name(run: Run, index: int, is_uniform: bool) -> str:
    """Returns the name of the candidate at a target, given the target's index. Speeds of this machine are not in it."""
    name = run.name(f"shape{index + 1}-uniform" if is_uniform else f"shape{index + 1}")
    count = trainings(run.folder)
    return f"{name}-{count}" if count > 1 else name


def shape_names(run: Run) -> list[str]:
    """Returns the names of all candidates that a run may make of shapes."""
    count = TARGETS + TARGETS_BETWEEN
    return [shape_name(run, index, is_uniform) for index in range(count) for is_uniform in (False, True)]


def calibration_pairs(run: Run) -> int:
    """Returns the number of pairs for moments and fits: as many as there is time for."""
    # A forward pass takes less time than the generation of a pair.
    affordable = LOSSES_SHARE * run.plan.within / 2 / run.pair_seconds
    pairs: int = run.folder.find_or_make(
        "calibration pairs", lambda: min(max(int(affordable), CALIBRATION_PAIRS[0]), CALIBRATION_PAIRS[-1])
    )
    return pairs
