"""Makes a new model with random weights, which `train` starts from by default.

`beginning` calls it together with `tokenizer_maker`. `warm_start` replaces some of the weights by those of a student.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from slimseq.compression.errors import BadParameters
from slimseq.compression.options import ARCHITECTURE, flat
from slimseq.inference.models.family import ModelFamily
from slimseq.inference.models.registry import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Dropout of hidden states in the new configuration. A training may set its own.
DROPOUT = 0.1


@flat(ARCHITECTURE)
@dataclass(frozen=True)
class NewModelOptions:
    """The architecture of a new model."""

    family: str = "bart"
    """Family of the model: t5, mt5, umt5, bart, mbart, m2m_100, marian, marian-student or pegasus."""
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
    """Maximum length of inputs and outputs, in tokens. All families but T5, mT5 and umT5."""
    is_gated: Annotated[bool, Parameter(name="--gated")] = False
    """Gated GELU, as in T5 1.1, instead of ReLU. T5 only."""
    is_tied: Annotated[bool, Parameter(name="--tied")] = True
    """Tie the output layer to the token embedding. T5 only; others always do."""
    begin_with: str = ""
    """Variant or folder of a Marian student, such as an imported Firefox model, whose weights a new BART starts from.
    Needs the student's width, layers, heads and feed-forward width."""

    @property
    def model_family(self) -> ModelFamily:
        return FAMILIES[self.family]

    def check(self) -> None:
        if self.family not in FAMILIES:
            raise BadParameters(f"--family {self.family} is none of {', '.join(FAMILIES)}")
        sizes = (self.width, self.encoder_layers, self.decoder_layers, self.heads, self.feed_forward, self.positions)
        if min(sizes) < 1:
            raise BadParameters("every size of an architecture is at least 1")
        if self.width % self.heads:
            raise BadParameters(f"width {self.width} is not divisible by {self.heads} heads")

    def configuration(self, vocabulary: int) -> dict[str, Any]:
        """Returns the model's configuration for a tokenizer with `vocabulary` ids."""
        family = self.model_family
        return {
            **family.resized(
                encoder_layers=self.encoder_layers,
                decoder_layers=self.decoder_layers,
                heads=self.heads,
                head_width=self.width // self.heads,
                width=self.width,
                encoder_feed_forward=self.feed_forward,
                decoder_feed_forward=self.feed_forward,
                tokens=_round_up(vocabulary, family.vocabulary_multiple),
            ),
            **family.special_ids(),
            **family.new_configuration(
                width=self.width,
                positions=self.positions,
                dropout=DROPOUT,
                is_gated=self.is_gated,
                is_tied=self.is_tied,
            ),
        }


def _round_up(number: int, multiple: int) -> int:
    """Returns the smallest multiple of `multiple` that is at least `number`."""
    return -(-number // multiple) * multiple


def make_model(options: NewModelOptions, vocabulary: int, seed: int) -> "PreTrainedModel":
    """Returns a model with random weights, fp32 on the CPU, in evaluation mode.

    Weights are initialized as in transformers, except token embeddings that are scaled by sqrt(width): they get a
    standard deviation of width^-0.5, which the scale brings back to 1 (Vaswani et al. 2017,
    https://arxiv.org/abs/1706.03762, section 3.4). `vocabulary` is the number of ids of the tokenizer.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    from slimseq.compression.models import ATTENTION, architecture_of_model
    from slimseq.inference.models.pretrained import is_output_tied, register_own_models, untie_output
    from slimseq.inference.models.t5 import OUTPUT_TABLE

    options.check()
    register_own_models()
    torch.manual_seed(seed)
    configuration = options.configuration(vocabulary) | {"attn_implementation": ATTENTION}
    if options.begin_with:
        # Marian students have ReLU, and the new model takes over their feed-forward layers.
        configuration["activation_function"] = "relu"
    config = AutoConfig.for_model(options.family, **configuration)
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)  # type: ignore[no-untyped-call]
    if not configuration.get("tie_word_embeddings", True) and is_output_tied(model):
        # transformers 5 ties every new T5.
        untie_output(model)
        torch.nn.init.normal_(model.get_parameter(OUTPUT_TABLE))
    architecture = architecture_of_model(model)
    if architecture.embedding_scale != 1.0:
        with torch.no_grad():
            tokens = model.get_parameter(architecture.encoder.tokens)
            tokens.normal_(std=options.width**-0.5)
            # As in transformers, the row of the padding token is zero. Where the end of a sequence pads too, the row
            # must stay: the model reads and writes this token.
            if model.config.pad_token_id != model.config.eos_token_id:
                tokens[model.config.pad_token_id] = 0
    model.train(False)
    return model
