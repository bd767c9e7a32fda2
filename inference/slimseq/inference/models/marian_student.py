"""Marian students: the small translators of Firefox, Marian with a recurrent decoder (SSRU) distilled from large ones.

Kim et al. 2019, https://aclanthology.org/D19-5632; https://github.com/mozilla/firefox-translations-models. transformers
does not know the family: `slimseq.inference.models.marian_student_module` is its PyTorch module, and the keys of its
`config.json` are ours.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from slimseq.inference.models.architecture import Architecture, Cell, Heads, Stack
from slimseq.inference.models.family import Tensors, tensor2tensor_positions
from slimseq.inference.models.marian import Marian
from slimseq.inference.models.safetensors_reader import Floats

# The longest input or output, in tokens. Positions are computed, so that it only bounds their table.
POSITIONS = 512
# The key of a configuration with the static activation scales that were published with the weights, by module.
ACTIVATION_SCALES = "activation_scales"


class MarianStudent(Marian):
    """A Marian student. Sources may have a vocabulary of their own (`source_vocab_size`), heads their own width."""

    model_type = "marian-student"
    title = "Marian student"
    artifact_family = "marian-student"
    defaults = MappingProxyType(
        {
            "activation_function": "relu",
            "scale_embedding": True,
            "tie_word_embeddings": True,
            "max_position_embeddings": POSITIONS,
        }
    )
    size_keys = MappingProxyType(
        {
            "encoder_layers": ("encoder_layers",),
            "decoder_layers": ("decoder_layers",),
            "heads": ("attention_heads",),
            "head_width": ("head_width",),
            "encoder_feed_forward": ("encoder_ffn_dim",),
            "decoder_feed_forward": ("decoder_ffn_dim",),
            "tokens": ("vocab_size",),
        }
    )
    token_matrices = ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    # Embeddings are not normed before the first layers, so that no static scale is known for what these layers read.
    sensitive_products = (
        *Marian.sensitive_products,
        r"^encoder/layers\.0/self_attn/",
        r"^model/decoder/layers\.0/cell/",
    )
    ctranslate2_refusal = "CTranslate2 has no decoder with recurrent layers (SSRU)"
    special_tokens = ("</s>", "<unk>")
    decoder_start = "</s>"
    pair_in_name = re.compile(r"(?:^|/)([a-z]{2})([a-z]{2})(?:-\d+)?/?$")
    norm_epsilon = 1e-6

    def _architecture(self, config: Mapping[str, Any], tensors: Tensors) -> Architecture:
        return replace(super()._architecture(config, tensors), starts_from_zero=True)

    def _heads(self, config: Mapping[str, Any], stack: str) -> Heads:
        return Heads(config["attention_heads"], config["head_width"], config["head_width"] ** -0.5)

    def _stack(self, name: str, count: int, heads: Heads, tensors: Tensors, is_tied: bool) -> Stack:
        stack = super()._stack(name, count, heads, tensors, is_tied)
        if name == "encoder":
            return stack
        layers = (
            replace(
                layer,
                self_attention=Cell(f"{layer.name}.cell.forget", f"{layer.name}.cell.input", f"{layer.name}.cell_norm"),
            )
            for layer in stack.layers
        )
        return replace(stack, layers=tuple(layers))

    def sinusoidal_positions(self, positions: int, width: int) -> Floats:
        return tensor2tensor_positions(positions, width)

    def converter_keys(self) -> dict[str, Any]:
        return {}

    def special_ids(self) -> dict[str, int]:
        """Returns ids of a new model: `</s>` ends a text, pads sources, and stands for the start token.

        There is no start token, see `starts_from_zero` of `Architecture`.
        """
        return dict.fromkeys(("pad_token_id", "eos_token_id", "decoder_start_token_id"), 0)

    def new_configuration(
        self, *, width: int, positions: int, dropout: float, is_gated: bool, is_tied: bool
    ) -> dict[str, Any]:
        return {"d_model": width, "max_position_embeddings": positions, "dropout": dropout, "scale_embedding": True}
