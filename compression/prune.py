"""Prunes: feed-forward channels and attention heads are really removed, then the model is trained to recover.

What stays is ranked on calibration data. Every layer of a stack keeps the same number of parts, so that stock
configuration keys describe the result. Training learns from labels and from the unpruned parent.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compression.context import Context
from compression.errors import BadParameters
from compression.importance import Importance, measure_importance
from compression.outcome import Derivation, Outcome, learn_from_parent
from compression.parent import open_parent
from compression.pruning.bart_heads import prune_bart_heads
from compression.pruning.feed_forward import feed_forward_widths, prune_feed_forward
from compression.pruning.t5_heads import prune_t5_heads
from compression.training.data import DataFiles, read_material
from compression.training.trainer import TrainingOptions
from models_store.manifest import Family, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class PruneOptions:
    """What to keep.

    Args:
        feed_forward: share of each stack's feed-forward channels where at most 1, else their number.
        heads: attention heads in every attention; None keeps all. A BART's width falls along with them.
        samples: calibration pairs.
    """

    feed_forward: float = 0.5
    heads: int | None = None
    samples: int = 256


def prune(
    context: Context,
    task: Task,
    variant: str,
    name: str,
    files: DataFiles,
    options: PruneOptions,
    training: TrainingOptions,
    checkpoint_folder: Path | None = None,
) -> Outcome:
    """Prunes an artifact and publishes the result.

    Args:
        context: store, seed and device.
        task: the artifact's task.
        variant: what to prune.
        name: what to call the result.
        files: training, calibration and dev data.
        options: what to keep.
        training: how to recover; a bound of 0 publishes the pruned model as it is.
        checkpoint_folder: where recovery is checkpointed and resumed from.

    Returns:
        The new artifact and the report of its recovery.

    Raises:
        BadParameters: the options don't fit the model.
        BadData: a file cannot be used.
        TrainingDiverged: recovery failed; nothing is published.
    """
    started = time.monotonic()
    training.check()
    parent = open_parent(context, task, variant, name)
    keep = kept_channels(parent.model, options.feed_forward)
    material = read_material(
        task, files, parent.tokenizer, parent.manifest.generation.prefix, parent.limits, options.samples
    )
    importance = measure_importance(parent.model, material.calibration, context)
    student = pruned(parent.model, keep, options.heads, importance)
    before, after = parent.model.num_parameters(), student.num_parameters()
    context.say(f"Removed {before - after:,} of {before:,} parameters ({1 - after / before:.0%})")
    derivation = Derivation(
        technique="prune",
        name=name,
        description=f"{variant} with {1 - after / before:.0%} of its parameters removed ({_words(keep, options)}).",
        parameters={**asdict(options), "kept_channels": keep},
        data=files.train,
        started=started,
        doing="Recovering",
    )
    return learn_from_parent(context, parent, student, material, training, derivation, checkpoint_folder)


def pruned(
    model: "PreTrainedModel", keep: dict[str, int], heads: int | None, importance: Importance
) -> "PreTrainedModel":
    """Returns a smaller model, before any training; the given one stays as it is.

    Args:
        model: a T5 or BART.
        keep: feed-forward channels to keep in the `encoder` and in the `decoder`.
        heads: heads to keep in every attention; None keeps all.
        importance: measured on this model.

    Raises:
        BadParameters: a number is out of range.
    """
    smaller = prune_feed_forward(model, keep, importance)
    if heads is None:
        return smaller
    cut = prune_t5_heads if model.config.model_type == Family.T5 else prune_bart_heads
    return cut(smaller, heads, importance)


def kept_channels(model: "PreTrainedModel", feed_forward: float) -> dict[str, int]:
    """Returns how many feed-forward channels each stack keeps: a share where at most 1, else that number.

    Raises:
        BadParameters: it is not above 0, or neither a share nor a whole number.
    """
    if feed_forward <= 0 or (feed_forward > 1 and feed_forward != int(feed_forward)):
        raise BadParameters(f"--feed-forward {feed_forward:g} is neither a share from 0 to 1 nor a number of channels")
    widths = feed_forward_widths(model)
    if feed_forward > min(widths.values()):
        raise BadParameters(f"--feed-forward {feed_forward:g} is above the {min(widths.values())} channels there are")
    return {
        stack: max(1, round(width * feed_forward)) if feed_forward <= 1 else int(feed_forward)
        for stack, width in widths.items()
    }


def _words(keep: dict[str, int], options: PruneOptions) -> str:
    channels = " and ".join(f"{count} feed-forward channels in the {stack}" for stack, count in keep.items())
    return channels if options.heads is None else f"{channels}, {options.heads} attention heads"
