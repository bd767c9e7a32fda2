"""A new model with random weights, described by a few flags: where `train` starts when it starts from nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from slimseq.compression.errors import BadParameters
from slimseq.compression.option_groups import ARCHITECTURE, flat
from slimseq.models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import BartConfig, PreTrainedModel, T5Config

# Matrix products like vocabularies that divide by this, and stock T5 pads its own (32,100 tokens to 32,128) so.
VOCABULARY_MULTIPLE = 64
BART_PAD_ID = 1
# As `models.load_model` opens a model, and for its reasons.
ATTENTION = "eager"


@flat(ARCHITECTURE)
@dataclass(frozen=True)
class Architecture:
    """What to build."""

    family: Family = Family.BART
    """Family of the model."""
    width: int = 256
    """Width of the hidden states (`d_model`)."""
    encoder_layers: int = 4
    """Number of encoder layers."""
    decoder_layers: int = 4
    """Number of decoder layers."""
    heads: int = 4
    """Number of attention heads. The width must be divisible by it."""
    feed_forward: int = 1024
    """Width of the feed-forward layers."""
    positions: int = 512
    """Maximum length of inputs and outputs, in tokens. BART only."""
    hidden_dropout: float = 0.1
    """Dropout in the configuration of the new model."""
    is_gated: Annotated[bool, Parameter(name="--gated")] = False
    """Gated GELU, as in T5 1.1, instead of ReLU. T5 only."""
    is_tied: Annotated[bool, Parameter(name="--tied")] = True
    """Tie the output layer to the token embedding. T5 only; BART always ties them."""
    previous_token_heads: bool = False
    """Initialize some heads of a T5 to attend to the previous token, for tasks that copy."""

    def check(self) -> None:
        """Checks that such a model can be built.

        Raises:
            BadParameters: a size is below 1, the width is not divisible by the heads, or an option is another family's.
        """
        sizes = (self.width, self.encoder_layers, self.decoder_layers, self.heads, self.feed_forward, self.positions)
        if min(sizes) < 1:
            raise BadParameters("every size of an architecture is at least 1")
        if self.width % self.heads:
            raise BadParameters(f"width {self.width} is not divisible by {self.heads} heads")
        if not 0 <= self.hidden_dropout < 1:
            raise BadParameters(f"dropout is {self.hidden_dropout}; it is at least 0 and below 1")
        if self.previous_token_heads and (self.family is not Family.T5 or self.heads < 2):
            raise BadParameters("previous-token heads need a T5 of at least 2 heads")


def make_model(architecture: Architecture, vocabulary: int, seed: int) -> "PreTrainedModel":
    """Returns a model with random weights, fp32 on the CPU, in evaluation mode.

    T5 keeps its stock initialisation. BART's token matrix gets a standard deviation of width^-0.5, which
    `scale_embedding` brings back to 1 (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.4).

    Args:
        architecture: what to build.
        vocabulary: ids of the tokenizer.
        seed: decides the weights.

    Raises:
        BadParameters: the architecture cannot be built.
    """
    import torch
    from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

    from slimseq.compression.training.position_prior import add_previous_token_heads

    architecture.check()
    torch.manual_seed(seed)
    if architecture.family is Family.T5:
        t5: PreTrainedModel = T5ForConditionalGeneration(_t5_config(architecture, vocabulary))
        if architecture.previous_token_heads:
            add_previous_token_heads(t5)
        return _evaluating(t5)
    model: PreTrainedModel = BartForConditionalGeneration(_bart_config(architecture, vocabulary))
    with torch.no_grad():
        tokens = model.get_parameter("model.shared.weight")
        tokens.normal_(std=architecture.width**-0.5)
        tokens[BART_PAD_ID] = 0
    return _evaluating(model)


def _evaluating(model: "PreTrainedModel") -> "PreTrainedModel":
    model.train(False)
    return model


def _t5_config(architecture: Architecture, vocabulary: int) -> "T5Config":
    from transformers import T5Config

    return T5Config(  # type: ignore[no-untyped-call]
        vocab_size=-(-vocabulary // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE,
        d_model=architecture.width,
        d_kv=architecture.width // architecture.heads,
        d_ff=architecture.feed_forward,
        num_layers=architecture.encoder_layers,
        num_decoder_layers=architecture.decoder_layers,
        num_heads=architecture.heads,
        dropout_rate=architecture.hidden_dropout,
        feed_forward_proj="gated-gelu" if architecture.is_gated else "relu",
        tie_word_embeddings=architecture.is_tied,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        attn_implementation=ATTENTION,
    )


def _bart_config(architecture: Architecture, vocabulary: int) -> "BartConfig":
    from transformers import BartConfig

    return BartConfig(  # type: ignore[no-untyped-call]
        vocab_size=vocabulary,
        max_position_embeddings=architecture.positions,
        d_model=architecture.width,
        encoder_layers=architecture.encoder_layers,
        decoder_layers=architecture.decoder_layers,
        encoder_attention_heads=architecture.heads,
        decoder_attention_heads=architecture.heads,
        encoder_ffn_dim=architecture.feed_forward,
        decoder_ffn_dim=architecture.feed_forward,
        dropout=architecture.hidden_dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        bos_token_id=0,
        pad_token_id=BART_PAD_ID,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
        attn_implementation=ATTENTION,
        # What CTranslate2's converter wants to read; these are the architecture's own values.
        normalize_before=False,
        normalize_embedding=True,
        add_final_layer_norm=False,
        add_bias_logits=False,
    )
