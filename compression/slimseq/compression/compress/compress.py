"""`compress`: makes smaller variants of a model within a time, and chooses the best one that keeps enough quality.

The stages are one after the other: data, int8, the search settings, shapes of layers with their trainings, and then the
choice among all candidates. The dev pairs are halved by the seed: one half chooses what to try next, and the other half
only confirms the choice at the end. Each stage writes what it found into the run's folder, so that the same command
goes on after an interruption. What is published, and the recipe that repeats it, are made by `build`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from slimseq.compression.artifacts.publish import check_name
from slimseq.compression.compress.candidate import FrontPoint
from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.compress.find_candidates import (
    candidates_without_training,
    check_bar,
    find_candidates,
    name_in_four_bits,
)
from slimseq.compression.compress.front import choose_front
from slimseq.compression.compress.measuring import Judge, seconds_of_a_pair
from slimseq.compression.compress.publish_front import publish_front
from slimseq.compression.compress.run import CHOOSING, Run
from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.scorer import ScorerFailed, check_scorer
from slimseq.compression.compress.shape_finder import TARGETS, shape_names
from slimseq.compression.compress.start.changed_options import (
    SHAPES,
    find_change,
    renamed_shapes,
    take_over,
)
from slimseq.compression.compress.start.checks import check_room
from slimseq.compression.compress.start.command_record import COMMAND, command_record
from slimseq.compression.compress.start.run_data import RunData, read_data, write_examples
from slimseq.compression.compress.start.unlabelled import LABELLED, label_with_original
from slimseq.compression.compress.start_checks import check_names, check_store_takes_variants, check_tests
from slimseq.compression.compress.time_plan import TimePlan
from slimseq.compression.context import Context, every
from slimseq.compression.errors import BadData, BadParameters, BadRecipe, GateFailed
from slimseq.evaluation.choice import halves
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.evaluation.significance import MIN_SAMPLES
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import QualityScore

# Share of the time that the original's outputs on dev data may take; where that is too short for the fewest pairs that
# a choice needs, the greater share. Candidates are faster than the original, so that measuring one takes less.
DEV_SHARE, MAX_DEV_SHARE = 0.08, 0.25
# Dev pairs that show, before any work, whether a command that scores works, and whether higher is better.
SCORER_PAIRS = 8
# Share of the time that one call of a scorer may take: one that hangs must not hold the run up.
SCORER_SHARE = 0.25

# Most characters of the text to try a variant with: a document would fill the terminal.
EXAMPLE_CHARACTERS = 200

# Errors by which a command is refused before its work: its options or its data must change.
REFUSALS = (BadData, BadParameters, BadRecipe, DatasetUnavailable, GateFailed, ScorerFailed)


@dataclass(frozen=True)
class Compressed:
    """The result of a run: the front, from the most to the least quality, and why one variant was chosen."""

    task: Task
    original: str
    front: tuple[FrontPoint, ...]
    chosen: str | None
    reason: str
    remarks: tuple[str, ...]
    is_agreement: bool
    """Whether the front shows agreement with the original, and not quality."""
    tested: tuple[QualityScore, ...]
    """Scores of the chosen variant on the test data, one for each test."""
    example: str
    """A text like those of the user, to try the chosen variant with."""
    folder: Path
    seconds: float


def compress(context: Context, task: Task, variant: str, options: CompressOptions, folder: Path) -> Compressed:
    """Runs all stages, publishes the front and returns it.

    Args:
        context: of the user's store, which holds the original.
        task: of the original.
        variant: name of the original.
        options: the bar, the time and the data.
        folder: of the run.

    Raises:
        BadParameters, BadData: the options or the data cannot be used; nothing was made.
        GateFailed: the int8 model already misses the bar.
    """
    options.check()
    run_folder = RunFolder(folder)
    with (
        run_folder.opened(),
        _showing_time(context, f"compress {task}/{variant}", options.seconds, run_folder),
    ):
        is_new = not run_folder.has(COMMAND)
        try:
            run = _begin(context, task, variant, options, run_folder, is_new=is_new)
            context.say(_outlook(run))
            candidates = candidates_without_training(run)
            for candidate in candidates:
                run.make(candidate)
            check_bar(run, candidates[0])
        except REFUSALS:
            # A command that was refused leaves no findings, so that a better one can use the folder.
            if is_new:
                run_folder.discard(LABELLED)
            raise
        found = find_candidates(run, candidates)
        decoding, shapes, candidates = found.decoding, found.shapes, found.candidates
        choice = choose_front(run, candidates)
        remarks = (decoding.in_words, *shapes.remarks, *shapes.predictions(choice.speeds), run.data.in_words)
        tested = publish_front(run, candidates, choice, remarks, shapes.structures)
        return Compressed(
            task=task,
            original=variant,
            front=choice.front,
            chosen=choice.chosen,
            reason=choice.reason,
            remarks=remarks,
            is_agreement=run.data.is_agreement,
            tested=tuple(tested),
            example=min((each.source for each in run.data.dev), key=len)[:EXAMPLE_CHARACTERS],
            folder=folder,
            seconds=round(run_folder.seconds, 1),
        )


@contextmanager
def _showing_time(context: Context, doing: str, within: float, folder: RunFolder) -> Iterator[None]:
    """Shows how much of the time has passed, while the block runs."""
    with context.progress() as display:
        bar = display.add_task(doing, total=round(within), status="", unit="s")
        with every(1.0, lambda: display.update(bar, completed=min(folder.seconds, within))):
            yield


def _outlook(run: Run) -> str:
    """Says what will be tried, and how long its parts will take."""
    within = run.plan.within
    begin = "Going on" if run.folder.is_resumed else "Trying"
    parts = [f"{begin}: int8 and other search settings, measured on {len(run.data.dev):,} dev pairs"]
    if run.plan.allows_training:
        parts.append(
            f"then shapes of layers at {TARGETS} speeds, with at most {run.plan.for_training / 60:.0f} minutes of "
            "training"
        )
    return f"{'; '.join(parts)}. It ends within {within / 60:g} minutes."


def _begin(
    context: Context, task: Task, variant: str, options: CompressOptions, folder: RunFolder, *, is_new: bool
) -> Run:
    """Reads the data, checks everything that can be checked before work begins, and opens the run's own store.

    `is_new` says that the folder has no findings yet.
    """
    original = context.store.manifest(task, variant)
    plan = TimePlan(options.seconds, lambda: folder.seconds)
    check_room(original, folder.path)
    judge = Judge(task, options.metric_for(task), options.scorer, SCORER_SHARE * plan.within)
    record = command_record(context, original, options)
    change = find_change(folder, record, options.seconds)
    folder.find_or_make(COMMAND, lambda: record)
    train, dev = list(options.train), list(options.dev)
    if options.unlabelled:
        made_before = options.teacher_outputs
        train = [label_with_original(context, original, options.unlabelled, folder, plan, made_before)]
    data = read_data(context, original, train, dev, folder.path, is_agreement=bool(options.unlabelled))
    if options.scorer is not None:
        probe = data.dev[:SCORER_PAIRS]
        check_scorer(options.scorer, [each.source for each in probe], [each.target for each in probe], judge.seconds)
    pair_seconds = folder.find_or_make(
        "seconds_of_a_pair", lambda: seconds_of_a_pair(context, context.store, original, data.dev)
    )
    # With more time there are not more pairs: some that have chosen would then confirm.
    dev_pairs = folder.find_or_make("dev pairs", lambda: _affordable(data, pair_seconds, plan))
    data = replace(data, dev=data.dev[:dev_pairs])
    choosing_half, _ = halves(len(data.dev), context.seed)
    run = Run(
        context=context,
        options=options,
        original=original,
        data=data,
        choosing_half=tuple(int(place) for place in choosing_half),
        judge=judge,
        folder=folder,
        plan=plan,
        pair_seconds=pair_seconds,
        prefix=options.name or ("" if variant == "original" else variant),
    )
    write_examples(folder.path / CHOOSING, run.choosing)
    check_tests(run)
    if is_new:
        shapes = shape_names(run)
        if options.aim == "smallest":
            shapes += [name_in_four_bits(name) for name in shapes]
        check_names(run, candidates_without_training(run), shapes)
    if change.is_longer:
        for shape in renamed_shapes(folder)[SHAPES]:
            check_name(context, task, shape["name"])
    check_store_takes_variants(run)
    take_over(folder, record, change)
    run.prepare_store()
    return run


def _affordable(data: RunData, pair_seconds: float, plan: TimePlan) -> int:
    """Returns the number of dev pairs: as many as there is time to measure on.

    Raises:
        BadParameters: the time is too short for the fewest pairs that a choice needs.
    """
    least = 2 * MIN_SAMPLES
    count = max(least, int(DEV_SHARE * plan.within / pair_seconds))
    if count * pair_seconds > MAX_DEV_SHARE * plan.within:
        needed = least * pair_seconds / MAX_DEV_SHARE / 60
        raise BadParameters(
            f"--within {plan.within / 60:g}m is too short: the original takes {pair_seconds:.2f} s for a dev pair, and "
            f"a choice needs at least {least} of them; give at least {needed:.0f}m"
        )
    return min(count, len(data.dev))
