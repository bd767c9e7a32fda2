"""Targets for texts without targets: the original's own outputs.

What is measured on them is agreement with the original, and not quality.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from slimseq.compression.compress.measuring import generate_texts, seconds_of_a_pair
from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.start.data_first import check_enough_texts
from slimseq.compression.compress.start.run_data import MIN_TRAINING_PAIRS, write_examples
from slimseq.compression.compress.time_plan import TimePlan
from slimseq.compression.context import Context
from slimseq.compression.errors import BadData
from slimseq.compression.train.data.training_data import read_unlabelled
from slimseq.models_store.manifest import Manifest

LABELLED = "labelled.jsonl"
# Share of the time that the original may write targets.
LABELLING_SHARE = 0.15


def label_with_original(
    context: Context, original: Manifest, names: Sequence[str], folder: RunFolder, plan: TimePlan
) -> str:
    """Writes a file of texts with the original's outputs as targets, and returns its path.

    As many texts are taken, in the order of the seed, as there is time for.

    Raises:
        BadData: there are too few texts, or the original writes something for too few of them.
    """
    path = folder.path / LABELLED
    if path.exists():
        return str(path)
    examples = read_unlabelled(original.task, names)
    check_enough_texts(len(examples))
    random.Random(context.seed).shuffle(examples)
    text_seconds = folder.find_or_make(
        "seconds_of_a_text", lambda: seconds_of_a_pair(context, context.store, original, examples)
    )
    count = folder.find_or_make("labelled", lambda: int(plan.part(LABELLING_SHARE) / text_seconds))
    examples = examples[: max(count, MIN_TRAINING_PAIRS)]
    # As it will be measured, and not by a teacher in int8: only so the original agrees with itself.
    texts = generate_texts(context, context.store, original, examples, f"Asking {original.variant}")
    outputs = [
        replace(each, target=text, origin=None) for each, text in zip(examples, texts, strict=True) if text.strip()
    ]
    written = len(outputs)
    if written < MIN_TRAINING_PAIRS:
        raise BadData(
            f"{original.task}/{original.variant} writes something for {written:,} of {len(examples):,} texts of "
            f"--unlabelled; compress needs at least {MIN_TRAINING_PAIRS} of them"
        )
    write_examples(path, outputs)
    return str(path)
