"""What a model is made of, as switches: read from its configuration and from which tensors it has.

Families differ in where norms stand, how positions are told and what is scaled. What builds graphs or fills another
library's specification reads these switches instead of names, so that a family's kin by configuration come out too:
mT5 and flan-T5 beside T5; mBART, Marian and PEGASUS beside BART.
"""

from dataclasses import dataclass
from typing import Any

from slimseq.inference.graphs.weights import Weights
from slimseq.inference.models.anatomy import Stack, bart_stack, t5_stack
from slimseq.inference.models.configuration import FAMILIES
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Family

# What the configurations of transformers take for keys that a file leaves out.
T5_DEFAULTS: dict[str, Any] = {
    "feed_forward_proj": "relu",
    "layer_norm_epsilon": 1e-6,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "tie_word_embeddings": True,
}
BART_DEFAULTS: dict[str, Any] = {
    "activation_function": "gelu",
    "scale_embedding": False,
    "tie_word_embeddings": True,
    "max_position_embeddings": 1024,
}
# What torch's LayerNorm takes where nobody says otherwise, and BART's kin say nothing.
NORM_EPSILON = 1e-5
# Whose positions are sines, which no file holds.
SINUSOIDAL = ("marian", "pegasus")
OUTPUT_TABLE = "lm_head.weight"
OUTPUT_BIAS = "final_logits_bias"


@dataclass(frozen=True)
class Heads:
    """An attention's heads: how many, the width of each, and the factor of their scores."""

    count: int
    width: int
    scale: float = 1.0


@dataclass(frozen=True)
class Buckets:
    """How distances are binned: `count` buckets, the last of which takes all from `greatest` on."""

    count: int
    greatest: int


@dataclass(frozen=True)
class Architecture:
    """One model's switches.

    Args:
        family: whose names its tensors have. width: of states. encoder, decoder: names of their parts. encoder_heads,
        decoder_heads: the shape of their attentions. activation: by the name that transformers has for it.
        norm_epsilon: of all norms. is_pre_norm: whether norms stand before each part and one behind each stack, or
        behind each part. has_embedding_norm: whether the sum of embeddings and positions is normed.
        has_sinusoidal_positions: whether positions are sines; else they are learned, or relative where there are
        buckets. max_positions: how many positions are told; 0 where they are relative. buckets: of relative positions.
        embedding_scale: factor of looked up embeddings. output_scale: factor of the last states before the output
        matrix. output_table: name of the output matrix. has_output_bias: whether each token has a bias.
    """

    family: Family
    width: int
    encoder: Stack
    decoder: Stack
    encoder_heads: Heads
    decoder_heads: Heads
    activation: str
    norm_epsilon: float
    is_pre_norm: bool
    has_embedding_norm: bool
    has_sinusoidal_positions: bool
    max_positions: int
    buckets: Buckets | None
    embedding_scale: float
    output_scale: float
    is_tied: bool
    tables: dict[str, str]
    output_table: str
    has_output_bias: bool

    @property
    def is_gated(self) -> bool:
        """Whether a gate multiplies the inner states of feed-forwards."""
        return len(self.encoder.layers[0].feed_forward.up) > 1

    def position_rows(self, weights: Weights, stack: Stack) -> int:
        """Returns how many rows of a stack's learned positions stand for nothing, before the first."""
        return weights.shape(f"model.{stack.name}.embed_positions.weight")[0] - self.max_positions


def architecture_of(config: dict[str, Any], weights: Weights) -> Architecture:
    """Reads a model's switches.

    Args:
        config: what `config.json` says.
        weights: the model's tensors.

    Raises:
        BadSource: a key or a tensor is missing, or the family is none that is known.
    """
    family = FAMILIES.get(config.get("model_type", ""))
    try:
        match family:
            case Family.T5:
                return _t5(T5_DEFAULTS | config, weights)
            case Family.BART:
                return _bart(BART_DEFAULTS | config, weights)
    except KeyError as error:
        raise BadSource(f"config.json says nothing of {error}") from error
    raise BadSource(f"model type {config.get('model_type')!r} is not known; {', '.join(FAMILIES)} are")


def tie_word_embeddings(config: dict[str, Any]) -> bool:
    """Returns the switch of this name as transformers 4 means it: a tied T5 scales its outputs too.

    transformers 5 ties every T5, says under a key of its own whether outputs are scaled, and scales those of no mT5.
    """
    if config.get("model_type") == "mt5" and not str(config.get("transformers_version", "4")).startswith("4"):
        return False
    return bool(config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)))


def _t5(config: dict[str, Any], weights: Weights) -> Architecture:
    # As in T5Config: two keys follow from a third, if they are not there, and `gated-gelu` is the approximation.
    gate, _, activation = config["feed_forward_proj"].rpartition("-")
    activation = "gelu_new" if (gate, activation) == ("gated", "gelu") else activation
    is_gated = bool(config.get("is_gated_act", gate == "gated"))
    layers = config["num_layers"]
    heads = Heads(config["num_heads"], config["d_kv"])
    is_scaled = tie_word_embeddings(config)
    table = weights.first_of("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    # transformers 5 says of an unscaled T5 that it is tied; its tensors tell.
    is_tied = is_scaled or (config["tie_word_embeddings"] and OUTPUT_TABLE not in weights)
    return Architecture(
        family=Family.T5,
        width=config["d_model"],
        encoder=t5_stack("encoder", layers, is_gated),
        decoder=t5_stack("decoder", config.get("num_decoder_layers") or layers, is_gated),
        encoder_heads=heads,
        decoder_heads=heads,
        activation=config.get("dense_act_fn", activation),
        norm_epsilon=config["layer_norm_epsilon"],
        is_pre_norm=True,
        has_embedding_norm=False,
        has_sinusoidal_positions=False,
        max_positions=0,
        buckets=Buckets(config["relative_attention_num_buckets"], config["relative_attention_max_distance"]),
        embedding_scale=1.0,
        output_scale=config["d_model"] ** -0.5 if is_scaled else 1.0,
        is_tied=is_tied,
        tables={"encoder": table, "decoder": table},
        output_table=table if is_tied else OUTPUT_TABLE,
        has_output_bias=False,
    )


def _bart(config: dict[str, Any], weights: Weights) -> Architecture:
    width = config["d_model"]
    encoder_heads, decoder_heads = (
        Heads(count, width // count, (width // count) ** -0.5)
        for count in (config["encoder_attention_heads"], config["decoder_attention_heads"])
    )
    is_tied = bool(config["tie_word_embeddings"])
    tables = {stack: _bart_table(weights, stack, is_tied) for stack in ("encoder", "decoder")}
    has_sinusoidal_positions = "model.encoder.embed_positions.weight" not in weights
    if has_sinusoidal_positions and config["model_type"] not in SINUSOIDAL:
        weights.first_of("model.encoder.embed_positions.weight")
    return Architecture(
        family=Family.BART,
        width=width,
        encoder=bart_stack("encoder", config["encoder_layers"]),
        decoder=bart_stack("decoder", config["decoder_layers"]),
        encoder_heads=encoder_heads,
        decoder_heads=decoder_heads,
        activation=config["activation_function"],
        norm_epsilon=NORM_EPSILON,
        is_pre_norm="model.encoder.layer_norm.weight" in weights,
        has_embedding_norm="model.encoder.layernorm_embedding.weight" in weights,
        has_sinusoidal_positions=has_sinusoidal_positions,
        max_positions=config["max_position_embeddings"],
        buckets=None,
        embedding_scale=width**0.5 if config["scale_embedding"] else 1.0,
        output_scale=1.0,
        is_tied=is_tied,
        tables=tables,
        output_table=tables["decoder"] if is_tied else OUTPUT_TABLE,
        has_output_bias=OUTPUT_BIAS in weights and bool(weights.read(OUTPUT_BIAS).any()),
    )


def _bart_table(weights: Weights, stack: str, is_tied: bool) -> str:
    """Returns the name of a stack's embedding, of which each has its own only in a model that ties nothing."""
    names = ["model.shared.weight", f"model.{stack}.embed_tokens.weight"]
    return weights.first_of(*(names if is_tied else reversed(names)), OUTPUT_TABLE)
