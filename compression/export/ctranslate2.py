"""Exports to CTranslate2: `model.bin`, `config.json` and `shared_vocabulary.json`, from an artifact's own tensors.

The library's converter takes one number of heads for both stacks, derives a head's width from it, and asks a BART's
configuration for switches that transformers does not write. So its specification is filled in here instead, from the
names of `compression.anatomy`: whatever shape pruning left comes out as it is.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from compression.anatomy import anatomy_of
from compression.models import load_model
from models_store.anatomy import Anatomy, Attention, Layer, Stack
from models_store.configuration import ModelConfiguration, read_configuration
from models_store.errors import BadSource, InvalidArtifact
from models_store.files import short_name
from models_store.manifest import Family

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ComputeType = Literal["float32", "int8"]
Floats = NDArray[np.float32]

# BART's learned positions start behind two rows that stand for nothing.
BART_POSITION_OFFSET = 2
BART_NORM_EPSILON = 1e-5
ACTIVATIONS = {"relu": "RELU", "gelu": "GELU", "gelu_new": "GELUTanh", "silu": "SWISH", "swish": "SWISH"}


def export_ctranslate2(source: Path, folder: Path, compute_type: ComputeType = "float32") -> None:
    """Writes a CTranslate2 model.

    Matrices are stored once where they are equal, the tied embedding and the relative position biases among them.
    With `int8`, matrices are rounded symmetrically with one scale a row, norms and biases stay float32.

    Args:
        source: a Hugging Face model folder with safetensors and `tokenizer.json`.
        folder: where to write; made if it is missing.
        compute_type: how matrices are stored, and computed with.

    Raises:
        BadSource: the model cannot be loaded, or has an activation that CTranslate2 lacks.
        InvalidArtifact: the configuration or the tokenizer cannot be read.
    """
    configuration = read_configuration(source)
    tokens = vocabulary_of(source, configuration.vocabulary)
    spec = _Builder(load_model(source)).spec()
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    _name_specials(spec.config, tokens, configuration)
    folder.mkdir(parents=True, exist_ok=True)
    spec.validate()
    spec.optimize(quantization=compute_type)
    spec.save(str(folder))


def vocabulary_of(source: Path, size: int) -> list[str]:
    """Returns one string an id, all different: the tokenizer's, or a made-up one where the model has more rows.

    Raises:
        InvalidArtifact: there is no readable `tokenizer.json`.
    """
    by_id = _token_strings(source / "tokenizer.json")
    known = set(by_id.values())
    tokens = []
    for token_id in range(size):
        token = by_id.get(token_id)
        if token is None:
            token = f"<unused {token_id}>"
            while token in known:
                token += ">"
        tokens.append(token)
    return tokens


def _token_strings(path: Path) -> dict[int, str]:
    from tokenizers import Tokenizer

    try:
        fast = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for everything
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {error}") from error
    return {token_id: token for token, token_id in fast.get_vocab(with_added_tokens=True).items()}


def _name_specials(config: Any, tokens: list[str], configuration: ModelConfiguration) -> None:
    """Sets the tokens that the library looks up, each of them one of ours: it would append those it does not find."""
    config.decoder_start_token = config.bos_token = tokens[configuration.decoder_start_id]
    config.eos_token = tokens[configuration.eos_id]
    config.unk_token = "<unk>" if "<unk>" in tokens else tokens[configuration.pad_id]


class _Builder:
    """Fills CTranslate2's specification from one model's tensors."""

    def __init__(self, model: "PreTrainedModel") -> None:
        self._config: Any = model.config
        self._anatomy: Anatomy = anatomy_of(model)
        self._state = model.state_dict()
        # Equal tensors become one array, which the library recognizes without comparing values.
        self._arrays: dict[int, Floats] = {}

    def spec(self) -> Any:
        """Returns the filled specification."""
        from ctranslate2.specs import transformer_spec

        is_t5 = self._anatomy.family is Family.T5
        shared = {
            "pre_norm": is_t5,
            "activation": self._activation(),
            "layernorm_embedding": not is_t5,
            "relative_attention_bias": is_t5,
            "ffn_glu": len(self._anatomy.encoder.layers[0].feed_forward.up) == 2,
            "rms_norm": is_t5,
        }
        encoder_heads, decoder_heads = self._heads()
        encoder = transformer_spec.TransformerEncoderSpec(
            len(self._anatomy.encoder.layers), encoder_heads, head_dim=self._head_dim(encoder_heads), **shared
        )
        decoder = transformer_spec.TransformerDecoderSpec(
            len(self._anatomy.decoder.layers), decoder_heads, head_dim=self._head_dim(decoder_heads), **shared
        )
        self._fill_stack(encoder, self._anatomy.encoder, encoder.embeddings[0])
        self._fill_stack(decoder, self._anatomy.decoder, decoder.embeddings)
        self._fill_projection(decoder)
        spec = transformer_spec.TransformerSpec(encoder, decoder)
        spec.config.layer_norm_epsilon = self._config.layer_norm_epsilon if is_t5 else BART_NORM_EPSILON
        return spec

    def _heads(self) -> tuple[int, int]:
        config = self._config
        if self._anatomy.family is Family.T5:
            return config.num_heads, config.num_heads
        return config.encoder_attention_heads, config.decoder_attention_heads

    def _head_dim(self, heads: int) -> int:
        """Returns a head's width, which T5 states, since its heads need not add up to the model's width."""
        return int(self._config.d_kv if self._anatomy.family is Family.T5 else self._config.d_model // heads)

    def _activation(self) -> Any:
        from ctranslate2.specs.common_spec import Activation

        is_t5 = self._anatomy.family is Family.T5
        name = self._config.dense_act_fn if is_t5 else self._config.activation_function
        if name not in ACTIVATIONS:
            raise BadSource(f"CTranslate2 has no activation {name!r}; it has {', '.join(ACTIVATIONS)}")
        return Activation[ACTIVATIONS[name]]

    def _array(self, name: str) -> Floats:
        tensor = self._state[name]
        key = tensor.data_ptr()
        if key not in self._arrays:
            # A copy: the library rounds in place.
            self._arrays[key] = np.array(tensor.float().cpu().numpy())
        return self._arrays[key]

    def _fill_stack(self, spec: Any, stack: Stack, embeddings: Any) -> None:
        if self._anatomy.family is Family.T5:
            embeddings.weight = self._array(f"{stack.name}.embed_tokens.weight")
            spec.scale_embeddings = False
            spec.layer_norm.gamma = self._array(f"{stack.name}.final_layer_norm.weight")
        else:
            name = f"model.{stack.name}"
            embeddings.weight = self._array(f"{name}.embed_tokens.weight")
            spec.scale_embeddings = float(self._config.d_model**0.5) if self._config.scale_embedding else 1.0
            spec.position_encodings.encodings = self._array(f"{name}.embed_positions.weight")[BART_POSITION_OFFSET:]
            self._fill_norm(spec.layernorm_embedding, f"{name}.layernorm_embedding")
        for layer_spec, layer in zip(spec.layer, stack.layers, strict=True):
            self._fill_layer(layer_spec, layer, stack.layers[0].self_attention.position_bias)

    def _fill_layer(self, spec: Any, layer: Layer, position_bias: str | None) -> None:
        attention_norm, cross_norm, feed_forward_norm = self._norms(layer)
        self._fill_attention(spec.self_attention, layer.self_attention, is_self=True)
        self._fill_norm(spec.self_attention.layer_norm, attention_norm)
        if position_bias is not None:
            # Layers after the first use its bias.
            spec.self_attention.relative_attention_bias = self._array(f"{position_bias}.weight")
            distance = np.int32(self._config.relative_attention_max_distance)
            spec.self_attention.relative_attention_max_distance = distance
        if layer.cross_attention is not None:
            self._fill_attention(spec.attention, layer.cross_attention, is_self=False)
            self._fill_norm(spec.attention.layer_norm, cross_norm)
        up = layer.feed_forward.up
        self._fill_linear(spec.ffn.linear_0, [up[0]])
        if len(up) == 2:
            self._fill_linear(spec.ffn.linear_0_noact, [up[1]])
        self._fill_linear(spec.ffn.linear_1, [layer.feed_forward.down])
        self._fill_norm(spec.ffn.layer_norm, feed_forward_norm)

    def _norms(self, layer: Layer) -> tuple[str, str, str]:
        """Returns the names of a layer's norms: self-attention's, cross-attention's, the feed-forward's."""
        if self._anatomy.family is Family.T5:
            last = 2 if layer.cross_attention else 1
            return tuple(f"{layer.name}.layer.{part}.layer_norm" for part in (0, 1, last))  # type: ignore[return-value]
        return (
            f"{layer.name}.self_attn_layer_norm",
            f"{layer.name}.encoder_attn_layer_norm",
            f"{layer.name}.final_layer_norm",
        )

    def _fill_attention(self, spec: Any, attention: Attention, is_self: bool) -> None:
        """Fills the fused projections: query, key and value in one, or key and value of encoder states in one."""
        if self._anatomy.family is Family.T5:
            spec.queries_scale = 1.0
        query, key, value = attention.query, attention.key, attention.value
        for linear, names in zip(
            spec.linear,
            ([query, key, value], [attention.output]) if is_self else ([query], [key, value], [attention.output]),
            strict=True,
        ):
            self._fill_linear(linear, list(names))

    def _fill_linear(self, spec: Any, names: list[str]) -> None:
        spec.weight = np.concatenate([self._array(f"{name}.weight") for name in names])
        if f"{names[0]}.bias" in self._state:
            spec.bias = np.concatenate([self._array(f"{name}.bias") for name in names])

    def _fill_norm(self, spec: Any, name: str) -> None:
        spec.gamma = self._array(f"{name}.weight")
        if f"{name}.bias" in self._state:
            spec.beta = self._array(f"{name}.bias")

    def _fill_projection(self, decoder: Any) -> None:
        decoder.projection.weight = self._array("lm_head.weight")
        if self._anatomy.family is Family.T5:
            if self._config.tie_word_embeddings:
                decoder.scale_outputs = float(self._config.d_model**-0.5)
        elif self._state["final_logits_bias"].any():
            decoder.projection.bias = self._array("final_logits_bias").reshape(-1)
