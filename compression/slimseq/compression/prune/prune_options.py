"""The options of pruning."""

from dataclasses import dataclass, field
from typing import Literal

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import STRUCTURE, flat
from slimseq.compression.train.training_options import SequenceLevel

CriterionName = Literal["wanda", "magnitude"]


@flat(STRUCTURE)
@dataclass(frozen=True)
class PruneOptions:
    """What to keep."""

    feed_forward: float = 0.5
    """Feed-forward channels to keep in each stack: a share where at most 1, else a number."""
    heads: int | None = None
    """Attention heads to keep in every attention. By default all. A BART's width falls along with them."""
    encoder_layers: int | None = None
    """Encoder layers to keep, those whose removal costs most. By default all."""
    decoder_layers: int | None = None
    """Decoder layers to keep, those whose removal costs most. By default all."""
    vocabulary: int | None = None
    """Maximum number of tokens to keep; the rarest in the training data are removed first. 0 keeps the tokens that the
    training data uses. By default all."""
    languages: str | None = None
    """Languages that a model of many languages keeps, such as en,de,fr: the tokens that texts in them use stay. The
    texts are those of --data and --unlabelled. Implies --vocabulary 0."""
    criterion: CriterionName = "wanda"
    """Importance criterion: wanda (activation times weight, measured on calibration pairs) or magnitude (weight alone).
    After training to recover, neither is clearly better than the other (docs/compression.md)."""
    samples: int = 128
    """Number of calibration pairs. The Wanda paper uses 128."""
    sequence: SequenceLevel = field(default_factory=SequenceLevel)

    def check(self) -> None:
        if self.vocabulary is not None and self.vocabulary < 0:
            raise BadParameters(f"--vocabulary {self.vocabulary} is below 0")
