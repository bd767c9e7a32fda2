"""The options of pruning."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import STRUCTURE, flat
from slimseq.compression.prune.layer_plan import LayerPlan
from slimseq.compression.train.training_options import SequenceLevel

CriterionName = Literal["wanda", "magnitude"]
# The options of a cut after which all layers of a stack have one shape.
UNIFORM = ("feed_forward", "heads", "encoder_layers", "decoder_layers")


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
    plan: Annotated[dict[str, Any] | None, Parameter(parse=False)] = None
    """For recipes: the layers that stay, with the heads and feed-forward channels of each, as `LayerPlan.record` writes
    them. It takes the place of feed_forward, heads, encoder_layers and decoder_layers."""
    sequence: SequenceLevel = field(default_factory=SequenceLevel)

    def __post_init__(self) -> None:
        """Checks a plan where it is read, so that a recipe with a wrong one is refused before any work.

        Raises:
            BadParameters: it is no plan, or an option of a uniform cut is there too.
        """
        if self.plan is None:
            return
        LayerPlan.from_record(self.plan)
        for name in UNIFORM:
            if getattr(self, name) != getattr(type(self), name):
                raise BadParameters(f"{name} cannot be combined with `plan`, which names the sizes of every layer")

    def check(self) -> None:
        if self.vocabulary is not None and self.vocabulary < 0:
            raise BadParameters(f"--vocabulary {self.vocabulary} is below 0")
