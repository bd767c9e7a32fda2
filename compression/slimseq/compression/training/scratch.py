"""A new model with random weights, described by a few flags: where `train` starts when it starts from nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from slimseq.compression.errors import BadParameters
from slimseq.compression.training.position_prior import add_previous_token_heads
from slimseq.inference.models.architecture import OUTPUT_TABLE
from slimseq.inference.models.pretrained import is_output_tied, untie_output
from slimseq.models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import BartConfig, PreTrainedModel, T5Config

# Matrix products like vocabularies that divide by this, and stock T5 pads its own (32,100 tokens to 32,128) so.
VOCABULARY_MULTIPLE = 64
BART_PAD_ID = 1
# As `models.load_model` opens a model, and for its reasons.
ATTENTION = "eager"


@dataclass(frozen=True)
class Architecture:
    """What to build.

    Args:
        family: T5 or BART.
        width: of the residual stream (`d_model`).
        encoder_layers: layers of the encoder.
        decoder_layers: layers of the decoder.
        heads: attention heads; `width` is divisible by them.
        feed_forward: width of the feed-forward.
        positions: longest input or output, BART only.
        hidden_dropout: of hidden states, as the new configuration says it.
        is_gated: T5 1.1's gated GELU instead of ReLU.
        is_tied: whether T5's output layer is the token matrix; BART's always is.
        previous_token_heads: whether some of T5's heads look at the token before from the start, for tasks that copy.
    """

    family: Family = Family.BART
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
    from transformers import BartForConditionalGeneration, T5ForConditionalGeneration

    architecture.check()
    torch.manual_seed(seed)
    if architecture.family is Family.T5:
        t5: PreTrainedModel = T5ForConditionalGeneration(_t5_config(architecture, vocabulary))
        if not architecture.is_tied and is_output_tied(t5):
            # transformers 5 ties every new T5.
            untie_output(t5)
            torch.nn.init.normal_(t5.get_parameter(OUTPUT_TABLE))
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
