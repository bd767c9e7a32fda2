"""What pruning is asked for."""

from dataclasses import dataclass, field
from typing import Literal

from slimseq.compression.errors import BadParameters
from slimseq.compression.prune.importance import CriterionName
from slimseq.compression.prune.unstructured import check_sparsity
from slimseq.compression.training.sequence_level import SequenceLevel

LayerChoice = Literal["loss", "even"]


@dataclass(frozen=True)
class PruneOptions:
    """What to keep.

    Args:
        feed_forward: share of each stack's feed-forward channels to keep where at most 1, else their number. With a
            budget it is searched for instead.
        heads: attention heads in every attention; None keeps all. A BART's width falls along with them.
        encoder_layers: encoder layers to keep; None keeps all, or searches where there is a budget.
        decoder_layers: decoder layers to keep; None keeps all, or searches where there is a budget.
        layer_choice: which layers go: those whose absence costs the least calibration loss, or evenly spaced ones.
        budget: share of the parameters to remove; the shape whose loss rises least before recovery is searched for
            (what the options above name is not). The loss is that of dev files, or of calibration data without them.
        vocabulary: token ids to keep at most, the rarest in the training data dropped first; 0 keeps those that the
            training data uses, None all.
        sparsity: share of the weights in the stacks' linear layers to set to zero. Saves compressed bytes, not time.
        pattern: `N:M`, such as 2:4, keeps N of every M neighbouring weights; in place of a sparsity.
        criterion: what makes a part important: wanda (activation times weight), magnitude, taylor (gradient times
            activation) or random.
        samples: calibration pairs; the paper on Wanda takes 128.
        sequence: whether and how much recovery learns from what a teacher writes.
    """

    feed_forward: float = 0.5
    heads: int | None = None
    encoder_layers: int | None = None
    decoder_layers: int | None = None
    layer_choice: LayerChoice = "loss"
    budget: float | None = None
    vocabulary: int | None = None
    sparsity: float = 0.0
    pattern: str = ""
    criterion: CriterionName = "wanda"
    samples: int = 128
    sequence: SequenceLevel = field(default_factory=SequenceLevel)

    @property
    def is_sparse(self) -> bool:
        """Whether single weights are to be removed."""
        return bool(self.sparsity or self.pattern)

    def check(self) -> None:
        """Checks what can be checked before a model is opened.

        Raises:
            BadParameters: an option is out of range, or two contradict each other.
        """
        self.sequence.check()
        check_sparsity(self.criterion, self.sparsity, self.pattern)
        if self.budget is not None and not 0 < self.budget < 1:
            raise BadParameters(f"--budget {self.budget:g} is not a share between 0 and 1")
        if self.vocabulary is not None and self.vocabulary < 0:
            raise BadParameters(f"--vocabulary {self.vocabulary} is below 0")
