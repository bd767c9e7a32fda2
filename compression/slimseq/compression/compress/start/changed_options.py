"""A command with another `--within`, `--keep` or `--test` than the one before it in the same folder.

What was found and does not depend on the changed option stays: the data, the original's outputs, int8, the search
settings that were measured, costs, losses, shapes, and all variants that were made. `FOUND_ANEW` says what does depend
on it. A command that differs in anything else is refused, since numbers that were measured for other data or another
metric would decide for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.start.command_record import COMMAND, KEEP, TEST, WITHIN
from slimseq.compression.errors import BadParameters

# Beginnings of names of findings: the number of steps of a training, shapes that were tried at last, and whether there
# was time for a candidate.
STEPS_OF, BETWEEN, TIME_FOR = "steps of ", "shapes between, ", "time for "
# The speeds of all variants, which are measured side by side.
SPEEDS = "speeds"
# What follows a shape's name in the name of a finding of its training.
AT_STEP = " at step "

# The findings that depend on each option that may change, by the beginnings of their names. Everything else stays.
# The number of dev pairs stays even with more time: with others, pairs that have chosen would confirm.
FOUND_ANEW: Mapping[str, Sequence[str]] = {
    WITHIN: ("allows training", "has memory to train", "first stage steps", STEPS_OF, BETWEEN, TIME_FOR, SPEEDS),
    # The search is chosen again among the settings that were measured. Shapes keep the search that they were made with.
    # Shapes are tried between those that keep the bar and those that miss it, so that another bar has others.
    KEEP: (BETWEEN, SPEEDS),
    # Test data decides nothing, and is measured on at the end.
    TEST: (),
}
# The parts of a record whose values are hashes. Errors name these parts without their values.
HASHED = {"the model", "--data", "--unlabelled", "--teacher-outputs", "--dev"}
# The shapes to train, and how often they were trained anew. A finding for each variant that was made.
SHAPES, TRAININGS, MADE = "shapes", "trainings", "made "
# The name of the search of the shapes, and the first finding that depends on it.
SHAPES_SEARCH, COSTS = "search of shapes", "costs"


@dataclass(frozen=True)
class Change:
    """How a command differs from the one before it in its folder."""

    options: tuple[str, ...]
    """The options that differ. Empty if none does, or if the folder is new."""
    is_longer: bool
    """Whether it has more time."""


def find_change(folder: RunFolder, record: Mapping[str, Any], seconds: float) -> Change:
    """Compares a command with the one that a folder's findings belong to, and checks that it can go on from them.

    Args:
        folder: of the run.
        record: of the command.
        seconds: the time of the command.

    Raises:
        BadParameters: it differs in an option that may not change, or has less time than was used; one line says it.
    """
    known = folder.get(COMMAND)
    if known is None:
        return Change((), is_longer=False)
    differing: list[str] = []
    refused: list[str] = []
    for name, value in record.items():
        known_value = known.get(name)
        if value == known_value:
            continue
        differing.append(name)
        if name in FOUND_ANEW:
            continue
        if name in HASHED:
            refused.append(name)
        else:
            refused.append(f"{name} ({_shown(known_value)} there, {_shown(value)} now)")
    if refused:
        raise BadParameters(
            f"{folder.path} has the run of another command, which differs in {', '.join(refused)}; name another "
            f"--folder, or remove {folder.path} to start again"
        )
    if WITHIN in differing and seconds <= folder.seconds:
        raise BadParameters(
            f"--within {seconds / 60:g}m is too short to go on: the run in {folder.path} has used "
            f"{folder.seconds / 60:.1f} minutes already, and they count; give more, or name another --folder"
        )
    is_longer = WITHIN in differing and seconds > float(known[WITHIN].removesuffix("s"))
    return Change(tuple(differing), is_longer)


def take_over(folder: RunFolder, record: Mapping[str, Any], change: Change) -> None:
    """Lets a folder's findings belong to a changed command, and forgets those that must be found anew."""
    if not change.options:
        return
    forgotten: set[str] = set()
    for option in change.options:
        forgotten |= _found_anew(folder, option, change)
    changed: dict[str, Any] = {COMMAND: record}
    made = names_made(folder)
    if change.is_longer and made & {shape["name"] for shape in folder.get(SHAPES) or []}:
        # The variants that were made stay as they are. All shapes are trained again, for longer, as new variants.
        changed |= renamed_shapes(folder)
    elif any(name.startswith(BETWEEN) for name in forgotten):
        # Other shapes between those that stay must not have the names of those that were made.
        changed[TRAININGS] = trainings(folder) + 1
    folder.revise(forgotten, changed)


def _found_anew(folder: RunFolder, option: str, change: Change) -> set[str]:
    """Returns the names of the findings that must be found anew for an option that differs."""
    found = {name for name in folder.names() if name.startswith(tuple(FOUND_ANEW[option]))}
    if option == KEEP and not folder.has(COSTS):
        found.add(SHAPES_SEARCH)
    if option == WITHIN:
        found |= {name for name in folder.names() if AT_STEP in name}
    if option == WITHIN and not change.is_longer:
        # With less time, trainings that have ended are not repeated, and training goes on where it was allowed.
        made = names_made(folder)
        of_trainings = {name for name in found if name.startswith(STEPS_OF) or AT_STEP in name}
        found = {name for name in of_trainings if _shape_of(name) not in made} | {SPEEDS}
    return found


def trainings(folder: RunFolder) -> int:
    """Returns how often shapes were trained anew, the first time included. Names of shapes have it from 2 on."""
    return int(folder.get(TRAININGS) or 1)


def renamed_shapes(folder: RunFolder) -> dict[str, Any]:
    """Returns the findings with which shapes are trained anew under new names: `shape1-2` after `shape1`."""
    before = trainings(folder)
    ending = f"-{before}" if before > 1 else ""
    shapes = [
        {**shape, "name": f"{shape['name'].removesuffix(ending)}-{before + 1}"} for shape in folder.get(SHAPES) or []
    ]
    return {SHAPES: shapes, TRAININGS: before + 1}


def _shape_of(finding: str) -> str:
    """Returns the name of the shape that a finding of a training is about."""
    return finding.removeprefix(STEPS_OF).partition(AT_STEP)[0]


def names_made(folder: RunFolder) -> set[str]:
    """Returns the names of the variants that runs in a folder have made."""
    return {name.removeprefix(MADE) for name in folder.names() if name.startswith(MADE)}


def _shown(value: object) -> str:
    is_unset = value is None or value == ""
    return "none" if is_unset else str(value)
