"""A new model with random weights, described by a few flags: where `train` starts when it starts from nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model
from slimseq.compression.training.position_prior import add_previous_token_heads
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.registry import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# As `models.load_model` opens a model, and for its reasons.
ATTENTION = "eager"


@dataclass(frozen=True)
class NewModelOptions:
    """What to build.

    Args:
        family: as transformers calls it: t5, mt5, bart, mbart, marian or pegasus.
        width: of the residual stream (`d_model`).
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder.
        heads: attention heads; `width` is divisible by them.
        feed_forward: width of the feed-forward.
        positions: longest input or output; T5 and mT5 have no limit.
        hidden_dropout: of hidden states, as the new configuration says it.
        is_gated: T5 1.1's gated GELU instead of ReLU.
        is_tied: whether T5's output layer is the token matrix; BART's always is.
        previous_token_heads: whether some of T5's heads look at the token before from the start, for tasks that copy.
    """

    family: str = "bart"
    width: int = 256
    encoder_layers: int = 4
    decoder_layers: int = 4
    heads: int = 4
    feed_forward: int = 1024
    positions: int = 512
    hidden_dropout: float = 0.1
    is_gated: bool = False
    is_tied: bool = True
    previous_token_heads: bool = False

    @property
    def model_family(self) -> ModelFamily:
        """What there is to know of the family."""
        return FAMILIES[self.family]

    @property
    def max_positions(self) -> int | None:
        """The longest input or output that positions allow; None where there is no limit."""
        return self.model_family.max_positions(self.configuration(0))

    def check(self) -> None:
        """Checks that such a model can be built.

        Raises:
            BadParameters: a size is below 1, the width is not divisible by the heads, or an option is another family's.
        """
        if self.family not in FAMILIES:
            raise BadParameters(f"--family {self.family} is none of {', '.join(FAMILIES)}")
        sizes = (self.width, self.encoder_layers, self.decoder_layers, self.heads, self.feed_forward, self.positions)
        if min(sizes) < 1:
            raise BadParameters("every size of an architecture is at least 1")
        if self.width % self.heads:
            raise BadParameters(f"width {self.width} is not divisible by {self.heads} heads")
        if not 0 <= self.hidden_dropout < 1:
            raise BadParameters(f"dropout is {self.hidden_dropout}; it is at least 0 and below 1")
        if self.previous_token_heads and (self.max_positions is not None or self.heads < 2):
            raise BadParameters("previous-token heads need a T5 of at least 2 heads")

    def configuration(self, vocabulary: int) -> dict[str, Any]:
        """Returns the configuration of the model, for a tokenizer with so many ids."""
        family = self.model_family
        multiple = family.vocabulary_multiple
        return {
            **family.resized(
                encoder_layers=self.encoder_layers,
                decoder_layers=self.decoder_layers,
                heads=self.heads,
                head_width=self.width // self.heads,
                width=self.width,
                encoder_feed_forward=self.feed_forward,
                decoder_feed_forward=self.feed_forward,
                tokens=-(-vocabulary // multiple) * multiple,
            ),
            **family.special_ids(),
            **family.new_configuration(
                width=self.width,
                positions=self.positions,
                dropout=self.hidden_dropout,
                is_gated=self.is_gated,
                is_tied=self.is_tied,
            ),
        }


def make_model(options: NewModelOptions, vocabulary: int, seed: int) -> "PreTrainedModel":
    """Returns a model with random weights, fp32 on the CPU, in evaluation mode.

    Weights are initialised as transformers does it, but for token embeddings that are scaled by sqrt(width): they get
    a standard deviation of width^-0.5, which the scale brings back to 1 (Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, section 3.4).

    Args:
        options: what to build.
        vocabulary: ids of the tokenizer.
        seed: decides the weights.

    Raises:
        BadParameters: such a model cannot be built.
    """
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    options.check()
    torch.manual_seed(seed)
    configuration = options.configuration(vocabulary) | {"attn_implementation": ATTENTION}
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(options.family, **configuration))
    architecture = architecture_of_model(model)
    if options.previous_token_heads:
        add_previous_token_heads(model)
    if architecture.embedding_scale != 1.0:
        with torch.no_grad():
            tokens = model.get_parameter(architecture.encoder.tokens)
            tokens.normal_(std=options.width**-0.5)
            tokens[model.config.pad_token_id] = 0
    model.train(False)
    return model
