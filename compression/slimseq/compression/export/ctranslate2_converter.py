"""Exports to CTranslate2: `model.bin`, `config.json` and `shared_vocabulary.json`, from an artifact's own tensors.

The library's converter takes one number of heads for both stacks, derives a head's width from it, and asks a BART's
configuration for switches that transformers does not write. So its specification is filled in here instead, from the
names and switches of the model's `Architecture`: whatever shape pruning left comes out as it is, without a training
library.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimseq.inference.models.architecture import Architecture, Attention, Heads, Layer, Stack
from slimseq.inference.models.configuration import ModelConfiguration, family_of, read_config, read_configuration
from slimseq.inference.models.registry import architecture_of
from slimseq.inference.models.safetensors_reader import Floats, SafetensorsReader
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource

ComputeType = Literal["float32", "int8", "int8_float16"]

ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "gelu_new": "GELUTanh", "silu": "SWISH", "swish": "SWISH"}


def export_ctranslate2(source: Path, folder: Path, compute_type: ComputeType = "float32") -> None:
    """Writes a CTranslate2 model.

    Matrices are stored once where they are equal, the tied embedding and the relative position biases among them.
    With `int8`, matrices are quantized symmetrically with one scale a row, and norms and biases stay float32. With
    `int8_float16`, norms and biases become float16. A CPU computes with them in float32.

    Raises:
        BadSource: the model is of an unknown family, lacks a tensor, has an activation that CTranslate2 lacks, or has
            attentions with different numbers of heads in one stack.
        InvalidArtifact: the configuration or the tokenizer cannot be read.
    """
    refusal = family_of(source).ctranslate2_refusal
    if refusal:
        raise BadSource(refusal)
    configuration = read_configuration(source)
    tokens = vocabulary_of(source, configuration.vocabulary)
    weights = SafetensorsReader(source)
    spec = _Builder(architecture_of(read_config(source), weights), weights).spec()
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    _name_specials(spec.config, tokens, configuration)
    folder.mkdir(parents=True, exist_ok=True)
    spec.validate()
    spec.optimize(quantization=compute_type)
    spec.save(str(folder))


def vocabulary_of(source: Path, size: int) -> list[str]:
    """Returns a string for each id. Ids that the tokenizer does not have get new strings, so that all are different."""
    known = Tokenizer(source).vocabulary
    by_id = {token_id: token for token, token_id in known.items()}
    tokens = []
    for token_id in range(size):
        token = by_id.get(token_id)
        if token is None:
            token = f"<unused {token_id}>"
            while token in known:
                token += ">"
        tokens.append(token)
    return tokens


def _name_specials(config: Any, tokens: list[str], configuration: ModelConfiguration) -> None:
    """Sets the special tokens. All are in the vocabulary, since CTranslate2 would append a token that is not there."""
    config.decoder_start_token = config.bos_token = tokens[configuration.decoder_start_id]
    config.eos_token = tokens[configuration.eos_id]
    config.unk_token = "<unk>" if "<unk>" in tokens else tokens[configuration.pad_id]


def _heads_of(stack: Stack) -> Heads:
    """Returns the heads of all attentions of a stack, or raises BadSource if they differ."""
    heads = {attention.heads for attention in stack.attentions}
    if len(heads) > 1:
        counts = ", ".join(str(count) for count in sorted(each.count for each in heads))
        raise BadSource(
            f"CTranslate2 has one number of heads for all attentions of the {stack.name}, and those of this model have "
            f"{counts}; onnxruntime runs it"
        )
    return heads.pop()


class _Builder:
    """Fills CTranslate2's specification from one model's tensors."""

    def __init__(self, model: Architecture, weights: SafetensorsReader) -> None:
        self._model = model
        self._weights = weights
        # One array a tensor, which the library recognizes where it is used twice without comparing values.
        self._arrays: dict[str, Floats] = {}

    def spec(self) -> Any:
        """Returns the filled specification."""
        from ctranslate2.specs import transformer_spec

        model = self._model
        is_relative = model.buckets is not None
        shared = {
            "pre_norm": model.is_pre_norm,
            "activation": self._activation(),
            "layernorm_embedding": model.encoder.embedding_norm is not None,
            "relative_attention_bias": is_relative,
            "ffn_glu": model.is_gated,
            "rms_norm": model.norm == "rms",
        }
        encoder, decoder = (
            kind(len(stack.layers), _heads_of(stack).count, head_dim=_heads_of(stack).width, **shared)
            for kind, stack in (
                (transformer_spec.TransformerEncoderSpec, model.encoder),
                (transformer_spec.TransformerDecoderSpec, model.decoder),
            )
        )
        self._fill_stack(encoder, model.encoder, encoder.embeddings[0])
        self._fill_stack(decoder, model.decoder, decoder.embeddings)
        self._fill_projection(decoder)
        spec = transformer_spec.TransformerSpec(encoder, decoder)
        spec.config.layer_norm_epsilon = model.norm_epsilon
        return spec

    def _activation(self) -> Any:
        from ctranslate2.specs.common_spec import Activation

        name = self._model.activation
        if name not in ACTIVATIONS:
            raise BadSource(f"CTranslate2 has no activation {name!r}; it has {', '.join(ACTIVATIONS)}")
        return Activation[ACTIVATIONS[name]]

    def _array(self, name: str) -> Floats:
        if name not in self._arrays:
            self._arrays[name] = self._weights.read(name)
        return self._arrays[name]

    def _fill_stack(self, spec: Any, stack: Stack, embeddings: Any) -> None:
        model = self._model
        embeddings.weight = self._array(stack.tokens)
        spec.scale_embeddings = model.embedding_scale if model.embedding_scale != 1.0 else False
        if model.buckets is None:
            spec.position_encodings.encodings = self._positions(stack)
        if stack.embedding_norm is not None:
            self._fill_norm(spec.layernorm_embedding, stack.embedding_norm)
        if stack.final_norm is not None:
            self._fill_norm(spec.layer_norm, stack.final_norm)
        for layer_spec, layer in zip(spec.layer, stack.layers, strict=True):
            self._fill_layer(layer_spec, layer, stack)

    def _positions(self, stack: Stack) -> Floats:
        model = self._model
        if stack.positions is None:
            return model.sinusoidal_positions(model.max_positions, model.width)
        return self._array(f"{stack.positions}.weight")[model.position_offset :]

    def _fill_layer(self, spec: Any, layer: Layer, stack: Stack) -> None:
        self._fill_attention(spec.self_attention, layer.attentions[0], is_self=True)
        if self._model.buckets is not None:
            position_bias = layer.attentions[0].position_bias or stack.position_biases[0]
            spec.self_attention.relative_attention_bias = self._array(f"{position_bias}.weight")
            spec.self_attention.relative_attention_max_distance = np.int32(self._model.buckets.greatest)
        if layer.cross_attention is not None:
            self._fill_attention(spec.attention, layer.cross_attention, is_self=False)
        up = layer.feed_forward.up
        self._fill_linear(spec.ffn.linear_0, [up[0]])
        if len(up) == 2:
            self._fill_linear(spec.ffn.linear_0_noact, [up[1]])
        self._fill_linear(spec.ffn.linear_1, [layer.feed_forward.down])
        self._fill_norm(spec.ffn.layer_norm, layer.feed_forward.norm)

    def _fill_attention(self, spec: Any, attention: Attention, is_self: bool) -> None:
        """Fills the fused projections: query, key and value in one, or key and value of encoder states in one."""
        if attention.heads.scale == 1.0:
            spec.queries_scale = 1.0
        query, key, value = attention.query, attention.key, attention.value
        for linear, names in zip(
            spec.linear,
            ([query, key, value], [attention.output]) if is_self else ([query], [key, value], [attention.output]),
            strict=True,
        ):
            self._fill_linear(linear, list(names))
        self._fill_norm(spec.layer_norm, attention.norm)

    def _fill_linear(self, spec: Any, names: list[str]) -> None:
        spec.weight = np.concatenate([self._array(f"{name}.weight") for name in names])
        if f"{names[0]}.bias" in self._weights:
            spec.bias = np.concatenate([self._array(f"{name}.bias") for name in names])

    def _fill_norm(self, spec: Any, name: str) -> None:
        spec.gamma = self._array(f"{name}.weight")
        if f"{name}.bias" in self._weights:
            spec.beta = self._array(f"{name}.bias")

    def _fill_projection(self, decoder: Any) -> None:
        model = self._model
        decoder.projection.weight = self._array(model.output_table)
        if model.output_scale != 1.0:
            decoder.scale_outputs = model.output_scale
        if model.output_bias is not None:
            decoder.projection.bias = self._array(model.output_bias).reshape(-1)
