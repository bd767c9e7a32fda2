"""The data of a run of `compress`: what it learns from, and what it chooses and confirms on.

Without `--dev`, some pairs of `--data` are held out by the seed. Pairs that have a near duplicate among the training
pairs are not held out: a model that learned one of them would know the other.
"""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimseq.compression.compress.start.near_duplicates import near_duplicates
from slimseq.compression.context import Context
from slimseq.compression.errors import BadData
from slimseq.compression.held_out import MIN_PAIRS, check_not_trained_on
from slimseq.compression.train.data.training_data import foreign_sides, read_dev, read_examples
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.text.language import language_name
from slimseq.models_store.files import write_text
from slimseq.models_store.manifest import Manifest, Task

MIN_TRAINING_PAIRS = 200
# Share of the pairs that is held out, and the least and greatest number of them. Half of them confirm the choice: with
# 1,000 pairs, the retention of a close variant is known to about half a percent.
HELD_OUT_SHARE = 0.2
HELD_OUT_PAIRS = range(100, 2001)
# Pairs are drawn as candidates for every pair to hold out, since some have near duplicates.
DRAWN_FOR_EACH = 2
# Pairs for calibration: importance, fits and probes.
CALIBRATION_PAIRS = 512
# Files in the folder of a run.
DEV, CALIBRATION = "dev.jsonl", "calibration.jsonl"


@dataclass(frozen=True)
class RunData:
    """The data of a run. `dev` is read already, and shuffled by the seed."""

    train: tuple[str, ...]
    """Files of training pairs."""
    calibration: Path
    dev_files: tuple[str, ...]
    dev: tuple[Example, ...]
    is_held_out: bool
    """Whether dev pairs were taken from the training files, which must leave them out."""
    is_agreement: bool = False
    """Whether the targets are outputs of the original, so that a score is agreement and not quality."""

    @property
    def exclude(self) -> list[str]:
        """Files whose sources the training leaves out."""
        return list(self.dev_files) if self.is_held_out else []

    @property
    def in_words(self) -> str:
        """One sentence for the model card."""
        kind = "agreement with the original" if self.is_agreement else "quality"
        if self.is_held_out:
            return (
                f"Its {kind} was measured on {len(self.dev):,} pairs that were held out of the training data at random "
                "and have no near duplicates in it."
            )
        names = ", ".join(Path(name).name for name in self.dev_files)
        return f"Its {kind} was measured on {len(self.dev):,} pairs of {names}."


def read_data(
    context: Context, manifest: Manifest, train: Sequence[str], dev: Sequence[str], folder: Path, *, is_agreement: bool
) -> RunData:
    """Reads and checks all data, holds dev pairs out if no dev file is named, and draws calibration pairs.

    Args:
        context: its seed decides what is held out.
        manifest: of the original.
        train: files of training pairs.
        dev: files of held-out pairs; empty if some training pairs are to be held out.
        folder: of the run, for the files that are written.
        is_agreement: whether the targets are outputs of the original.

    Raises:
        BadData: there are too few pairs, they are of other languages than the model, or dev pairs are in the training
            data or were trained on.
        DatasetUnavailable: a dev file cannot be read.
    """
    with context.working("Reading the data"):
        for name in dev:
            check_not_trained_on(context, {manifest.variant: manifest}, name)
        # A model of many languages may be compressed for texts of any of them.
        languages = () if manifest.generation.language_tokens else manifest.languages
        held_out, rest = read_pairs(context, manifest.task, train, dev, languages, is_agreement=is_agreement)
        if not dev:
            write_examples(folder / DEV, held_out)
        write_examples(folder / CALIBRATION, rest[:CALIBRATION_PAIRS])
    return RunData(
        train=tuple(train),
        calibration=folder / CALIBRATION,
        dev_files=tuple(dev) or (str(folder / DEV),),
        dev=tuple(held_out),
        is_held_out=not dev,
        is_agreement=is_agreement,
    )


def read_pairs(
    context: Context,
    task: Task,
    train: Sequence[str],
    dev: Sequence[str],
    languages: Sequence[str],
    *,
    is_agreement: bool,
) -> tuple[list[Example], list[Example]]:
    """Reads and checks all pairs, which needs no model.

    Args:
        context: its seed decides what is held out.
        task: of the model.
        train: files of training pairs.
        dev: files of held-out pairs; empty if some training pairs are to be held out.
        languages: of the model; empty if they are not known, or if it has many.
        is_agreement: whether the targets are outputs of the original.

    Returns:
        The dev pairs and the others, both in the order of the seed.

    Raises:
        BadData: as `read_data` does.
        DatasetUnavailable: a dev file cannot be read.
    """
    examples = _distinct(read_examples(task, train))
    if len(examples) < MIN_TRAINING_PAIRS:
        raise BadData(
            f"--data has {len(examples):,} different pairs; compress needs at least {MIN_TRAINING_PAIRS}, to "
            "measure on some and to learn from the others"
        )
    if languages:
        _check_languages(examples, languages, ("source",) if is_agreement else ("source", "target"))
    random.Random(context.seed).shuffle(examples)
    if dev:
        return _new_dev_pairs(context, task, dev, examples), examples
    held_out = _hold_out(examples)
    sources = {example.source for example in held_out}
    return held_out, [example for example in examples if example.source not in sources]


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Writes pairs as JSON lines, as every command reads them."""
    lines = []
    for example in examples:
        row = {"source": example.source, "target": example.target}
        row |= {"prefix": example.prefix} if example.prefix is not None else {}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def _distinct(examples: Iterable[Example]) -> list[Example]:
    """Returns the first example of each source, without those that have no source or no target."""
    found: dict[str, Example] = {}
    for example in examples:
        if example.source and example.target:
            found.setdefault(example.source, example)
    return list(found.values())


def _check_languages(examples: Sequence[Example], languages: Sequence[str], sides: Sequence[str]) -> None:
    """Refuses data whose first texts are clearly in other languages than those of the model."""
    for side, found, expected in foreign_sides(examples, languages):
        if side in sides:
            raise BadData(
                f"the {side}s of --data seem to be in {found}; the model is for {language_name(expected)} there"
            )


def _new_dev_pairs(context: Context, task: Task, names: Sequence[str], training: Sequence[Example]) -> list[Example]:
    """Reads dev files, and checks that their pairs are new and enough."""
    found = _distinct(read_dev(context, task, names, training))
    if len(found) < 2 * MIN_PAIRS:
        raise BadData(
            f"--dev has {len(found)} different pairs; one half chooses and the other half confirms, so that at least "
            f"{2 * MIN_PAIRS} are needed"
        )
    close = near_duplicates([each.source for each in found], (each.source for each in training))
    if close:
        context.say(
            f"Warning: {len(close):,} of the {len(found):,} sources of --dev have a near duplicate in --data, so that "
            "what is measured on them is a little too good."
        )
    random.Random(context.seed).shuffle(found)
    return found


def _hold_out(examples: Sequence[Example]) -> list[Example]:
    """Returns pairs to hold out, from the start of the shuffled examples, without near duplicates among the others."""
    share = round(HELD_OUT_SHARE * len(examples))
    wanted = min(max(share, HELD_OUT_PAIRS[0]), HELD_OUT_PAIRS[-1])
    drawn = examples[: min(DRAWN_FOR_EACH * wanted, len(examples) // 2)]
    others = (each.source for each in examples[len(drawn) :])
    known = near_duplicates([each.source for each in drawn], others)
    new = [example for index, example in enumerate(drawn) if index not in known]
    if len(new) < 2 * MIN_PAIRS:
        raise BadData(
            f"only {len(new)} of {len(drawn):,} drawn pairs have no near duplicate in --data, which is too few to "
            "measure on: name held-out pairs with --dev"
        )
    return new[:wanted]
