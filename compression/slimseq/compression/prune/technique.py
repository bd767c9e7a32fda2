"""`prune`: its verb and its step in recipes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimseq.compression.commands.arguments import TaskArgument, VariantArgument, WorkersOption
from slimseq.compression.options import TRAINING, flat
from slimseq.compression.prune.options import PruneOptions
from slimseq.compression.technique import CheckpointOption, CommonOptions, Job, NameOption, Technique, apply_technique
from slimseq.compression.training.data.pairs import DataFiles
from slimseq.compression.training.options import TrainingOptions

if TYPE_CHECKING:
    from slimseq.compression.artifacts.outcome import Outcome


@flat(TRAINING)
@dataclass(frozen=True)
class Recovery(TrainingOptions):
    """How to train a pruned model: on its parent's whole distribution, without regularization."""

    label_smoothing: float = 0.0
    dropout: float | None = 0.0


def _run(job: Job, options: PruneOptions, training: TrainingOptions) -> "Outcome":
    from slimseq.compression.prune.prune import prune

    return prune(job, options, training)


TECHNIQUE = Technique("prune", _run, [PruneOptions, Recovery], needs_data=True, requires="torch")


def command(
    task: TaskArgument,
    variant: VariantArgument,
    /,
    *,
    files: DataFiles,
    name: NameOption = "pruned",
    options: PruneOptions = PruneOptions(),
    training: Recovery = Recovery(),
    checkpoint: CheckpointOption = None,
    workers: WorkersOption = 1,
    common: CommonOptions = CommonOptions(),
) -> None:
    """Prune a variant: parts are really removed, then it recovers on labels and on the unpruned model.

    Without --max-seconds, --max-steps or --epochs recovery takes ten minutes; --max-steps 0 skips it.
    """
    apply_technique(TECHNIQUE, task, variant, name, files, [options, training], common, checkpoint, workers)
