"""The options of pruning."""

import re
from dataclasses import dataclass, field
from typing import Literal

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import STRUCTURE, flat
from slimseq.compression.training.options import SequenceLevel

LayerChoice = Literal["loss", "even"]
CriterionName = Literal["wanda", "magnitude", "taylor", "random"]


@flat(STRUCTURE)
@dataclass(frozen=True)
class PruneOptions:
    """What to keep."""

    feed_forward: float = 0.5
    """Feed-forward channels to keep in each stack: a share where at most 1, else a number. With a budget, the search
    decides instead."""
    heads: int | None = None
    """Attention heads to keep in every attention. By default all. A BART's width falls along with them."""
    encoder_layers: int | None = None
    """Encoder layers to keep. By default all, or what the search decides where there is a budget."""
    decoder_layers: int | None = None
    """Decoder layers to keep. By default all, or what the search decides where there is a budget."""
    layer_choice: LayerChoice = "loss"
    """Which layers to remove: those whose removal costs the least calibration loss, or evenly spaced layers."""
    budget: float | None = None
    """Share of the parameters to remove. The shape with the least rise in loss before recovery is searched for; options
    above that have a value stay as they are. The loss is measured on dev files, or on calibration data without them."""
    vocabulary: int | None = None
    """Maximum number of tokens to keep; the rarest in the training data are removed first. 0 keeps the tokens that the
    training data uses. By default all."""
    sparsity: float = 0.0
    """Share of the weights in the stacks' linear layers to set to zero. This saves compressed bytes, not time."""
    pattern: str = ""
    """Sparsity pattern N:M, such as 2:4: keep N of every M neighbouring weights. Replaces --sparsity."""
    criterion: CriterionName = "wanda"
    """Importance criterion: wanda (activation times weight), magnitude, taylor (gradient times activation) or
    random."""
    samples: int = 128
    """Number of calibration pairs. The Wanda paper uses 128."""
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


def check_sparsity(criterion: str, sparsity: float, pattern: str) -> None:
    """Checks the options of unstructured sparsity.

    Raises:
        BadParameters: the share is not from 0 to below 1, the pattern is not `N:M` with 0 < N < M, both are given, or
            the criterion has no score for single weights.
    """
    if not 0 <= sparsity < 1:
        raise BadParameters(f"--sparsity {sparsity:g} is not a share from 0 to below 1")
    if not sparsity and not pattern:
        return
    if sparsity and pattern:
        raise BadParameters(f"--pattern {pattern} says how sparse; leave --sparsity {sparsity:g} out")
    if pattern:
        group_of(pattern)
    if criterion not in ("wanda", "magnitude"):
        raise BadParameters(f"--criterion {criterion} does not score single weights: wanda and magnitude do")


def group_of(pattern: str) -> tuple[int, int]:
    """Returns N and M of a pattern `N:M`.

    Raises:
        BadParameters: it is none, or N is not below M.
    """
    found = re.fullmatch(r"(\d+):(\d+)", pattern)
    if not found or not 0 < int(found[1]) < int(found[2]):
        raise BadParameters(f"--pattern {pattern!r} is not N:M with N below M, such as 2:4")
    return int(found[1]), int(found[2])
