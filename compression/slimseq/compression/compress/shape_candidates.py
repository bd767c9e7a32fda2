"""Candidates with other shapes of layers: searched, trained for a short time, and the better ones to the end.

At each of a few target speeds, the search proposes shapes whose layers may differ, and the best uniform cut. The
proposals of a target are ranked by their true divergence from the original. The best one and the uniform cut are then
trained for the same number of steps. The one with the higher loss on dev data stops. The other one goes on for its
share of the time that is left. The first that misses the bar ends this. What is left of the time then goes to shapes
between the fastest speed that keeps the bar and the slowest one that misses it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.decoding.decoding_search import DecodingChoice
from slimseq.compression.compress.run import Run
from slimseq.compression.compress.shape_finder import TARGETS_BETWEEN, Shape, ShapeFinder, calibration_pairs
from slimseq.compression.compress.staged_training import (
    DECAY_FRACTION,
    MIN_STEPS,
    Stage,
    discard_first_stage,
    finish_in_time,
    train_first_stage,
    training_options,
)
from slimseq.compression.compress.start.changed_options import STEPS_OF, TIME_FOR
from slimseq.compression.compress.start.checks import has_memory_to_train
from slimseq.compression.compress.structures.structure_rows import StructureRow, structure_rows
from slimseq.compression.compress.time_plan import LOSSES_SHARE, SHORT_TRAINING_SHARE
from slimseq.models_store.measurements import Performance

# Steps after which the speed of a training is known well enough to plan with.
TRIAL_STEPS = 10
# A first stage of fewer steps would compare noise.
MIN_FIRST_STAGE_STEPS = 40
# The losses may take this many times their share of the time.
LOSSES_TOLERANCE = 2
# How cut models are quantized.
SCHEME = "int8-dynamic"
# A speed between two others is tried if it is at least this many times as fast as the slower one.
SMALLEST_STEP = 1.02


@dataclass(frozen=True)
class ShapeCandidates:
    """The candidates, and what the user should know of the search, one sentence each."""

    candidates: list[Candidate]
    remarks: list[str]
    keeping: list[Candidate] = field(default_factory=list)
    """Those that keep the bar on the choosing half."""
    structures: list[StructureRow] = field(default_factory=list)
    """What each structure of the original costs and is worth; empty if it was not measured."""
    predicted: Mapping[str, float] = field(default_factory=dict)
    """Predicted speed of candidates, as a multiple of that of the whole model in int8 with the same search."""
    whole: str = ""
    """Name of the whole model in int8 with the same search."""

    def predictions(self, speeds: Mapping[str, Performance]) -> list[str]:
        """Returns one sentence that compares predicted speeds with measured ones; none if there is nothing to compare.

        Args:
            speeds: measured in one run, by variant.
        """
        if self.whole not in speeds:
            return []
        base = speeds[self.whole].tokens_per_second
        pairs = [
            f"{name} {predicted:.2f} and {speeds[name].tokens_per_second / base:.2f}"
            for name, predicted in self.predicted.items()
            if name in speeds
        ]
        return [f"Predicted and measured times the speed of {self.whole}: {', '.join(pairs)}."] if pairs else []


def find_shape_candidates(run: Run, decoding: DecodingChoice) -> ShapeCandidates:
    """Returns the shapes that were trained within the time; none where the time or the memory is too short.

    Args:
        run: the run.
        decoding: the search settings of the candidates.
    """
    allows_training = run.folder.find_or_make("allows training", lambda: run.plan.allows_training)
    if not allows_training:
        words = "There was no time for training, which makes faster variants: the same with --within 60m goes on."
        return ShapeCandidates([], [words])
    if not run.folder.find_or_make("has memory to train", lambda: has_memory_to_train(run.original)):
        return ShapeCandidates([], ["There was too little memory for training, so that no layers were cut."])
    finder = ShapeFinder(run, decoding)
    remark = _too_slow_for_losses(run, finder)
    if remark is not None:
        finder.close()
        return ShapeCandidates([], [remark])
    shapes = finder.find_shapes()
    for shape in shapes:
        title = shape.title(run.options.aim)
        run.context.say(f"{shape.name}: {title}, {shape.divergence:.3f} nats a token from the original before training")
    structures = structure_rows(finder.whole(), finder.losses(), finder.costs())
    finder.close()
    winners = _best_of_each_target(run, shapes)
    finished = _finish(run, winners, decoding.settings)
    finished += _finish_between(run, finder, finished, decoding.settings)
    whole_seconds = finder.costs().predict(finder.whole()).seconds
    if winners and not finished:
        remarks = ["There was too little time to train any shape; more may make faster variants."]
    else:
        remarks = _remarks(shapes, winners)
    return ShapeCandidates(
        candidates=[each.candidate for each in finished],
        remarks=remarks,
        keeping=[each.candidate for each in finished if each.keeps_bar],
        structures=structures,
        predicted={each.shape.name: whole_seconds / each.shape.seconds for each in finished},
        whole=run.name("quantized" if not decoding.settings else f"quantized-{decoding.name}"),
    )


def _too_slow_for_losses(run: Run, finder: ShapeFinder) -> str | None:
    """Says that there is too little time to measure what layers are worth, or returns None.

    A large model with long texts takes many minutes for it, in which other candidates can be measured.
    """
    needed = finder.least_seconds_of_losses()
    has_time = run.folder.find_or_make(
        f"{TIME_FOR}losses", lambda: needed <= LOSSES_TOLERANCE * run.plan.part(LOSSES_SHARE)
    )
    if has_time:
        return None
    minutes = math.ceil(needed / (LOSSES_TOLERANCE * LOSSES_SHARE) / 60)
    return (
        f"There was no time to cut layers: to measure what they are worth takes {needed / 60:.0f} minutes for this "
        f"model and these texts. The same with --within {minutes}m goes on."
    )


def _best_of_each_target(run: Run, shapes: Sequence[Shape]) -> list[tuple[Shape, Stage]]:
    """Trains all shapes for the same number of steps; returns the one of each target with the least dev loss."""
    if not shapes:
        return []
    trial = train_first_stage(run, shapes[0].name, _step(run, shapes[0]), TRIAL_STEPS)
    steps = run.folder.find_or_make(
        "first stage steps",
        lambda: int(SHORT_TRAINING_SHARE * run.plan.for_training / len(shapes) * trial.steps_per_second),
    )
    if steps < MIN_FIRST_STAGE_STEPS:
        # There is no time to compare: the shape with the least divergence of each target is taken.
        return [(each, trial) for each in least_of_each_target(shapes, {each.name: each.divergence for each in shapes})]
    stages = {each.name: train_first_stage(run, each.name, _step(run, each), steps) for each in shapes}
    winners = least_of_each_target(shapes, {name: stage.dev_loss for name, stage in stages.items()})
    for shape in shapes:
        if shape not in winners:
            discard_first_stage(run, shape.name)
    return [(shape, stages[shape.name]) for shape in winners]


def least_of_each_target(shapes: Sequence[Shape], values: Mapping[str, float]) -> list[Shape]:
    """Returns the shape of each target with the least value, the slowest target first."""
    targets = sorted({each.target for each in shapes})
    return [
        min((each for each in shapes if each.target == target), key=lambda each: values[each.name])
        for target in targets
    ]


@dataclass(frozen=True)
class FinishedShape:
    """A shape after its whole training."""

    shape: Shape
    candidate: Candidate
    keeps_bar: bool
    """Whether it keeps the bar on the choosing half, by the estimate alone."""


def _finish(run: Run, winners: Sequence[tuple[Shape, Stage]], settings: Mapping[str, Any]) -> list[FinishedShape]:
    """Trains the winners to their end, the slowest target first, each for an equal part of the time that is left.

    Where the time is too short for all of them, those of the slowest targets are trained. A target whose shape misses
    the bar ends the tries, since faster shapes would miss it by more.
    """
    finished: list[FinishedShape] = []
    for index, (shape, stage) in enumerate(winners):
        last = _train_to_the_end(run, shape, stage, len(winners) - index, settings)
        if last is None:
            break
        finished.append(last)
        if not last.keeps_bar:
            break
    return finished


def _finish_between(
    run: Run, finder: ShapeFinder, finished: Sequence[FinishedShape], settings: Mapping[str, Any]
) -> list[FinishedShape]:
    """Trains shapes between the fastest one that keeps the bar and the slowest one that misses it, while there is time.

    Each has more time than those before it, since fewer share what is left.
    """
    between: list[FinishedShape] = []
    for number in range(TARGETS_BETWEEN):
        target = target_between({each.shape.target: each.keeps_bar for each in (*finished, *between)})
        if target is None:
            break
        shape = finder.find_shape_between(target, number)
        finder.close()
        if shape is None:
            break
        stage = train_first_stage(run, shape.name, _step(run, shape), TRIAL_STEPS)
        last = _train_to_the_end(run, shape, stage, TARGETS_BETWEEN - number, settings)
        if last is None:
            break
        between.append(last)
    return between


def target_between(keeps_bar: Mapping[float, bool]) -> float | None:
    """Returns the speed to try next; None where no speed misses the bar, or where the two are too near to each other.

    Args:
        keeps_bar: whether the shape of each speed keeps the bar. The whole model, of the speed 1, does.
    """
    fastest = max((target for target, keeps in keeps_bar.items() if keeps), default=1.0)
    slower = min((target for target, keeps in keeps_bar.items() if not keeps and target > fastest), default=None)
    if slower is None:
        return None
    between = round(math.sqrt(fastest * slower), 3)
    return between if between >= SMALLEST_STEP * fastest else None


def _train_to_the_end(
    run: Run, shape: Shape, stage: Stage, trainings: int, settings: Mapping[str, Any]
) -> FinishedShape | None:
    """Trains a shape, and makes its candidate; returns None if there is too little time for it.

    Args:
        run: the run.
        shape: the shape.
        stage: what is known from its first stage.
        trainings: the number of trainings that share the time that is left, this one included.
        settings: of the search, for the candidate.
    """
    steps = run.folder.find_or_make(
        f"{STEPS_OF}{shape.name}", partial(decided_steps, stage, run.plan.for_training, trainings)
    )
    if not steps:
        return None
    step = {**_step(run, shape), "max_steps": steps}
    if not finish_in_time(run, shape.name, step, steps, stage):
        run.context.say(f"{shape.name}: its training became too slow to end in time, and was given up")
        return None
    following: list[dict[str, Any]] = [{"quantize": {"scheme": SCHEME}}]
    if settings:
        following.append({"decode": dict(settings)})
    candidate = Candidate(shape.name, shape.title(run.options.aim), ({"prune": step}, *following))
    run.make(candidate)
    kept, _ = run.measure_and_announce(candidate)
    return FinishedShape(shape, candidate, keeps_bar=kept >= run.options.keep)


def decided_steps(stage: Stage, seconds: float, trainings: int) -> int:
    """Returns the number of steps of the next of some trainings that share the time. 0 if it is too short for one."""
    for sharing in range(trainings, 0, -1):
        steps = steps_in_all(stage, seconds / sharing)
        if (steps - stage.steps) / stage.steps_per_second <= seconds / sharing:
            return steps
    return 0


def steps_in_all(stage: Stage, seconds: float) -> int:
    """Returns how many steps a training has in all, if it may go on for so many seconds; at least the fewest."""
    steps = stage.steps + int(seconds * stage.steps_per_second)
    # The learning rate of the first stage must not have begun to fall.
    return max(steps, MIN_STEPS, math.ceil(stage.steps / (1 - DECAY_FRACTION)))


def _step(run: Run, shape: Shape) -> dict[str, Any]:
    """Returns the options of the `prune` step of a shape, without its end."""
    step = {"plan": shape.plan.record(), "samples": calibration_pairs(run), **training_options(run.width)}
    if run.folder.get("used tokens") is not None:
        step["vocabulary"] = 0
    return step


def _remarks(shapes: Sequence[Shape], winners: Sequence[tuple[Shape, Stage]]) -> list[str]:
    """Says what competed and what won."""
    compared = [target for target in sorted({each.target for each in shapes}) if _kinds_at(shapes, target) == 2]
    searched = [shape.target for shape, _ in winners if not shape.is_uniform and shape.target in compared]
    if not compared:
        return []
    return [
        f"At {len(searched)} of {len(compared)} speeds the searched shape had a lower loss than the uniform cut after "
        "the same number of steps."
    ]


def _kinds_at(shapes: Sequence[Shape], target: float) -> int:
    return len({each.is_uniform for each in shapes if each.target == target})
