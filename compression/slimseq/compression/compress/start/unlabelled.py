"""Targets for texts without targets: the original's own outputs.

What is measured on them is agreement with the original, and not quality.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slimseq.compression.compress.measuring import generate_texts, seconds_of_a_pair
from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.start.data_first import check_enough_texts
from slimseq.compression.compress.start.run_data import MIN_TRAINING_PAIRS, write_examples
from slimseq.compression.compress.time_plan import TimePlan
from slimseq.compression.context import Context
from slimseq.compression.errors import BadData
from slimseq.compression.train.data.training_data import read_unlabelled
from slimseq.evaluation.bulk.teacher_outputs import TeacherOutputs
from slimseq.evaluation.dataset_files import Example
from slimseq.models_store.manifest import Manifest

LABELLED = "labelled.jsonl"
# Share of the time that the original may write targets.
LABELLING_SHARE = 0.15


def label_with_original(
    context: Context,
    original: Manifest,
    names: Sequence[str],
    folder: RunFolder,
    plan: TimePlan,
    made_before: Path | None = None,
) -> str:
    """Writes a file of texts with the original's outputs as targets, and returns its path.

    As many texts are taken, in the order of the seed, as there is time for.

    Args:
        context: its seed decides the order.
        original: the model that writes the targets.
        names: files of texts.
        folder: of the run. It keeps the file.
        plan: the time of the run.
        made_before: file of `generate --as-is` with the original's outputs. Then none is generated, and all texts that
            it has an output for are taken.

    Raises:
        BadData: there are too few texts, or the original writes something for too few of them.
        DatasetUnavailable: the file of outputs cannot be read, or has too few outputs of the original for these texts.
    """
    path = folder.path / LABELLED
    if path.exists():
        return str(path)
    examples = read_unlabelled(original.task, names)
    check_enough_texts(len(examples))
    random.Random(context.seed).shuffle(examples)
    if made_before is None:
        labelled = _generated(context, original, examples, folder, plan)
    else:
        labelled = _made_before(context, original, examples, made_before)
    written = [each for each in labelled if each.target.strip()]
    if len(written) < MIN_TRAINING_PAIRS:
        raise BadData(
            f"{original.task}/{original.variant} writes something for {len(written):,} of {len(labelled):,} texts of "
            f"--unlabelled; compress needs at least {MIN_TRAINING_PAIRS} of them"
        )
    write_examples(path, written)
    return str(path)


def _generated(
    context: Context, original: Manifest, examples: Sequence[Example], folder: RunFolder, plan: TimePlan
) -> list[Example]:
    """Returns the first examples, as many as there is time for, with outputs that the original generates now."""
    text_seconds = folder.find_or_make(
        "seconds_of_a_text", lambda: seconds_of_a_pair(context, context.store, original, examples)
    )
    count = folder.find_or_make("labelled", lambda: int(plan.part(LABELLING_SHARE) / text_seconds))
    asked = examples[: max(count, MIN_TRAINING_PAIRS)]
    # As it will be measured, and not by a teacher in int8: only so the original agrees with itself.
    texts = generate_texts(context, context.store, original, asked, f"Asking {original.variant}")
    return [replace(each, target=text, origin=None) for each, text in zip(asked, texts, strict=True)]


def _made_before(context: Context, original: Manifest, examples: Sequence[Example], path: Path) -> list[Example]:
    """Returns the examples that a file has an output of the original for, with these outputs.

    A file of texts is split into sentences, of which some may not be those that the job of the file has seen.
    """
    with context.working(f"Reading {path.name}"):
        file = TeacherOutputs(path)
        outputs = file.found(original, {}, examples)
        labelled = [
            replace(each, target=output.text, origin=None)
            for each, output in zip(examples, outputs, strict=True)
            if output is not None
        ]
        if len(labelled) < MIN_TRAINING_PAIRS:
            # Says how many are missing, and the command that makes them.
            file.all_found(original, {}, examples)
    context.say(f"{path.name} has {original.variant}'s outputs for {len(labelled):,} of {len(examples):,} texts.")
    return labelled
