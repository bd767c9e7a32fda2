"""T5, original, 1.1 and flan, mT5 and umT5: RMS norms before each part, relative position biases, plain or gated.

Raffel et al. 2020, https://arxiv.org/abs/1910.10683; mT5: Xue et al. 2021, https://arxiv.org/abs/2010.11934; umT5:
Chung et al. 2023, https://arxiv.org/abs/2304.09151. MADLAD-400 is a T5 1.1 with a token for each target language:
Kudugunta et al. 2023, https://arxiv.org/abs/2309.04662.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from slimseq.inference.models.architecture import Architecture, Attention, Buckets, FeedForward, Heads, Layer, Stack
from slimseq.inference.models.family import ModelFamily, Tensors

OUTPUT_TABLE = "lm_head.weight"


def tie_word_embeddings(config: Mapping[str, Any]) -> bool:
    """Returns the switch of this name as transformers 4 means it: a tied T5 scales its outputs too.

    transformers 5 ties every T5, says under a key of its own whether outputs are scaled, and never scales an mT5's.
    """
    if config.get("model_type") == "mt5" and not str(config.get("transformers_version", "4")).startswith("4"):
        return False
    return bool(config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True)))


class T5(ModelFamily):
    """T5. The width of a head (`d_kv`) and one width of all feed-forwards (`d_ff`) are keys of their own.

    If `has_bias_a_layer`, each layer has its own relative position bias; else the bias of the first layer serves all.
    """

    model_type = "t5"
    title = "T5"
    artifact_family = "t5"
    defaults = MappingProxyType(
        {
            "feed_forward_proj": "relu",
            "layer_norm_epsilon": 1e-6,
            "relative_attention_num_buckets": 32,
            "relative_attention_max_distance": 128,
            "tie_word_embeddings": True,
        }
    )
    token_matrices = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", OUTPUT_TABLE)
    size_keys = MappingProxyType(
        {
            "encoder_layers": ("num_layers",),
            "decoder_layers": ("num_decoder_layers",),
            "heads": ("num_heads",),
            "head_width": ("d_kv",),
            "encoder_feed_forward": ("d_ff",),
            "decoder_feed_forward": ("d_ff",),
            "tokens": ("vocab_size",),
        }
    )
    sensitive_products = (r"^encoder/", r"^decoder/.*/DenseReluDense/wo/")
    # It was trained in bfloat16: its feed-forward outputs exceed 65504 where the model is run in the type that it is
    # stored in (https://github.com/huggingface/transformers/issues/5651).
    fp16_refusal = "fp16 is not for T5, whose activations overflow in it; store bf16 instead"
    learns_languages_from_prefix = True
    # MADLAD-400's.
    target_token = re.compile(r"<2([a-z]{2,3}(?:_[A-Za-z]+)?)>")
    has_bias_a_layer: ClassVar[bool] = False
    tokenizer = "unigram"
    special_tokens = ("<pad>", "</s>", "<unk>")
    sentinel = "<extra_id_{}>"
    decoder_start = "<pad>"
    # As stock T5 pads its own: 32,100 tokens to 32,128.
    vocabulary_multiple = 64

    def _architecture(self, config: Mapping[str, Any], tensors: Tensors) -> Architecture:
        # As in transformers' T5Config: where `dense_act_fn` and `is_gated_act` are missing, they follow from
        # `feed_forward_proj`, and the gelu of `gated-gelu` is the approximation by tanh.
        gate, _, activation = config["feed_forward_proj"].rpartition("-")
        activation = "gelu_new" if (gate, activation) == ("gated", "gelu") else activation
        is_gated = bool(config.get("is_gated_act", gate == "gated"))
        heads = Heads(config["num_heads"], config["d_kv"])
        is_scaled = tie_word_embeddings(config)
        # transformers 5 says of every T5 that it is tied. If outputs are not scaled, the tensors tell whether it is.
        is_tied = is_scaled or bool(config["tie_word_embeddings"] and OUTPUT_TABLE not in tensors)
        table = tensors.first_of(*self.token_matrices[:3])
        encoder, decoder = (
            _stack(name, layers, heads, table, is_gated, biased_layers=layers if self.has_bias_a_layer else 1)
            for name, layers in zip(("encoder", "decoder"), self.layer_counts(config), strict=True)
        )
        return Architecture(
            has_own_head_width=self.has_own_head_width,
            sinusoidal_positions=self.sinusoidal_positions,
            width=config["d_model"],
            encoder=encoder,
            decoder=decoder,
            activation=config.get("dense_act_fn", activation),
            norm="rms",
            norm_epsilon=config["layer_norm_epsilon"],
            is_pre_norm=True,
            max_positions=0,
            position_offset=0,
            buckets=Buckets(config["relative_attention_num_buckets"], config["relative_attention_max_distance"]),
            embedding_scale=1.0,
            output_scale=config["d_model"] ** -0.5 if is_scaled else 1.0,
            is_tied=is_tied,
            output_table=table if is_tied else OUTPUT_TABLE,
            output_bias=None,
        )

    def trained_length(self, config: Mapping[str, Any]) -> int | None:
        """Returns the length of inputs that the model was trained with, which relative positions do not limit."""
        return config.get("n_positions")

    def new_configuration(
        self, *, width: int, positions: int, dropout: float, is_gated: bool, is_tied: bool
    ) -> dict[str, Any]:
        """Returns the configuration of a new model; its positions have no limit."""
        return {
            "d_model": width,
            "dropout_rate": dropout,
            "feed_forward_proj": "gated-gelu" if is_gated else "relu",
            "tie_word_embeddings": is_tied,
        }


class MT5(T5):
    """mT5: a T5 1.1 over a vocabulary of a hundred languages."""

    model_type = "mt5"
    title = "mT5"


class UMT5(T5):
    """umT5: an mT5 whose layers have a relative position bias each."""

    model_type = "umt5"
    title = "umT5"
    has_bias_a_layer = True


def _stack(name: str, count: int, heads: Heads, table: str, is_gated: bool, *, biased_layers: int) -> Stack:
    """Returns a stack, of which the first `biased_layers` layers have relative position biases."""
    layers_name = f"{name}.block"
    return Stack(
        name=name,
        module=name,
        layers_name=layers_name,
        layers=tuple(
            _layer(f"{layers_name}.{number}", name, heads, is_gated, number < biased_layers) for number in range(count)
        ),
        tokens=table,
        positions=None,
        embedding_norm=None,
        final_norm=f"{name}.final_layer_norm",
    )


def _layer(name: str, stack: str, heads: Heads, is_gated: bool, is_biased: bool) -> Layer:
    def attention(part: int, module: str) -> Attention:
        path = f"{name}.layer.{part}"
        bias = f"{path}.{module}.relative_attention_bias" if part == 0 and is_biased else None
        query, key, value, output = (f"{path}.{module}.{projection}" for projection in "qkvo")
        return Attention(query, key, value, output, f"{path}.layer_norm", heads, bias)

    is_decoder = stack == "decoder"
    part = f"{name}.layer.{2 if is_decoder else 1}"
    dense = f"{part}.DenseReluDense"
    up = (f"{dense}.wi_0", f"{dense}.wi_1") if is_gated else (f"{dense}.wi",)
    return Layer(
        name=name,
        self_attention=attention(0, "SelfAttention"),
        cross_attention=attention(1, "EncDecAttention") if is_decoder else None,
        feed_forward=FeedForward(up, f"{dense}.wo", f"{dense}.act", f"{part}.layer_norm"),
    )
