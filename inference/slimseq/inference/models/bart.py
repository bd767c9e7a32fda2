"""BART: layer norms behind each part, biases everywhere, learned positions. Other families are small changes of it.

Lewis et al. 2020, https://arxiv.org/abs/1910.13461.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from slimseq.inference.models.architecture import Architecture, Attention, FeedForward, Heads, Layer, Stack
from slimseq.inference.models.family import ModelFamily, Tensors
from slimseq.models_store.errors import BadSource

OUTPUT_TABLE = "lm_head.weight"


class Bart(ModelFamily):
    """BART, and the base of families with the same names of tensors.

    Attributes:
        is_pre_norm: whether a norm stands before each part, and one behind each stack; else one behind each part.
        has_embedding_norm: whether a norm follows the sum of embeddings and positions.
        position_offset: rows of stored positions before the first position's.
        norm_epsilon: what a norm adds to the variance: torch's default. Configurations have no key for it.
    """

    model_type = "bart"
    title = "BART"
    artifact_family = "bart"
    defaults = MappingProxyType(
        {
            "activation_function": "gelu",
            "scale_embedding": False,
            "tie_word_embeddings": True,
            "max_position_embeddings": 1024,
        }
    )
    token_matrices: ClassVar[tuple[str, ...]] = (
        "model.shared.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
        OUTPUT_TABLE,
    )
    size_keys = MappingProxyType(
        {
            "encoder_layers": ("encoder_layers", "num_hidden_layers"),
            "decoder_layers": ("decoder_layers",),
            "heads": ("encoder_attention_heads", "decoder_attention_heads"),
            "width": ("d_model",),
            "encoder_feed_forward": ("encoder_ffn_dim",),
            "decoder_feed_forward": ("decoder_ffn_dim",),
            "tokens": ("vocab_size",),
        }
    )
    output_bias = "final_logits_bias"
    sensitive_products: ClassVar[tuple[str, ...]] = (r"^encoder/.*/fc[12]/", r"^(?:model/)?decoder/.*/fc2/")
    tokenizer: ClassVar[Literal["unigram", "byte-pairs"]] = "byte-pairs"
    special_tokens: ClassVar[tuple[str, ...]] = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    decoder_start = "</s>"
    is_pre_norm: ClassVar[bool] = False
    has_embedding_norm: ClassVar[bool] = True
    position_offset: ClassVar[int] = 2
    norm_epsilon: ClassVar[float] = 1e-5

    def _architecture(self, config: Mapping[str, Any], tensors: Tensors) -> Architecture:
        width = config["d_model"]
        is_tied = bool(config["tie_word_embeddings"])
        encoder, decoder = (
            self._stack(name, layers, self._heads(config, name), tensors, is_tied)
            for name, layers in zip(("encoder", "decoder"), self.layer_counts(config), strict=True)
        )
        has_output_bias = self.output_bias in tensors and bool(tensors.read(self.output_bias).any())
        return Architecture(
            has_own_head_width=self.has_own_head_width,
            sinusoidal_positions=self.sinusoidal_positions,
            width=width,
            encoder=encoder,
            decoder=decoder,
            activation=config["activation_function"],
            norm="layer",
            norm_epsilon=self.norm_epsilon,
            is_pre_norm=self.is_pre_norm,
            max_positions=config["max_position_embeddings"],
            position_offset=self.position_offset,
            buckets=None,
            embedding_scale=width**0.5 if config["scale_embedding"] else 1.0,
            output_scale=1.0,
            is_tied=is_tied,
            output_table=decoder.tokens if is_tied else OUTPUT_TABLE,
            output_bias=self.output_bias if has_output_bias else None,
        )

    def _heads(self, config: Mapping[str, Any], stack: str) -> Heads:
        """Returns the heads of a stack; raises BadSource if the width cannot be divided among them."""
        count = config[f"{stack}_attention_heads"]
        width, rest = divmod(config["d_model"], count)
        if rest:
            raise BadSource(f"config.json: d_model is {config['d_model']}, no multiple of the {count} heads")
        return Heads(count, width, width**-0.5)

    def _stack(self, name: str, count: int, heads: Heads, tensors: Tensors, is_tied: bool) -> Stack:
        module = f"model.{name}"
        positions = f"{module}.embed_positions"
        is_computed = self.has_sinusoidal_positions and f"{positions}.weight" not in tensors
        # Each stack has its own embedding only in a model that ties nothing.
        tables = ["model.shared.weight", f"{module}.embed_tokens.weight"]
        return Stack(
            name=name,
            module=module,
            layers_name=f"{module}.layers",
            layers=tuple(_layer(f"{module}.layers.{number}", name, heads) for number in range(count)),
            tokens=tensors.first_of(*(tables if is_tied else reversed(tables)), OUTPUT_TABLE),
            positions=None if is_computed else positions,
            embedding_norm=f"{module}.layernorm_embedding" if self.has_embedding_norm else None,
            final_norm=f"{module}.layer_norm" if self.is_pre_norm else None,
        )

    def max_positions(self, config: Mapping[str, Any]) -> int | None:
        """Returns the longest input or output that positions allow."""
        given: int | None = config.get("max_position_embeddings")
        return self.defaults["max_position_embeddings"] if given is None else given

    def converter_keys(self) -> dict[str, Any]:
        """Returns the configuration that CTranslate2's own converter asks for, and transformers does not write."""
        return {
            "normalize_before": self.is_pre_norm,
            "normalize_embedding": self.has_embedding_norm,
            "add_final_layer_norm": self.is_pre_norm,
            "add_bias_logits": False,
        }

    def new_configuration(
        self, *, width: int, positions: int, dropout: float, is_gated: bool, is_tied: bool
    ) -> dict[str, Any]:
        """Returns the configuration of a new model, which is tied and not gated."""
        return {
            "max_position_embeddings": positions,
            "dropout": dropout,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "scale_embedding": True,
            "forced_eos_token_id": self.special_tokens.index("</s>"),
            **self.converter_keys(),
        }


def _layer(name: str, stack: str, heads: Heads) -> Layer:
    def attention(part: str) -> Attention:
        module = f"{name}.{part}"
        query, key, value, output = (f"{module}.{letter}_proj" for letter in ("q", "k", "v", "out"))
        return Attention(query, key, value, output, f"{module}_layer_norm", heads)

    return Layer(
        name=name,
        self_attention=attention("self_attn"),
        cross_attention=attention("encoder_attn") if stack == "decoder" else None,
        feed_forward=FeedForward((f"{name}.fc1",), f"{name}.fc2", f"{name}.activation_fn", f"{name}.final_layer_norm"),
    )
