"""What Slimseq has to know of a model family. A family is one file here and one line in `registry`.

The base class has what most families share. A family overrides what differs; most are small overrides of BART. A new
family needs no code for graphs or CTranslate2: `slimseq.inference.graphs.encoder_decoder` and
`slimseq.compression.export.ctranslate2_converter` read only the names and switches of its `Architecture`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from slimseq.inference.models.architecture import Architecture
from slimseq.inference.models.bounds import without_nulls
from slimseq.inference.models.layer_shapes import LayerShapes
from slimseq.inference.models.safetensors_reader import Floats
from slimseq.models_store.errors import BadSource


class Tensors(Protocol):
    """The tensors of a model by name, in its files or in a model that transformers opened."""

    def __contains__(self, name: str) -> bool:
        """Whether there is such a tensor."""

    def first_of(self, *names: str) -> str:
        """Returns the first of some names that there is; raises BadSource where there is none."""

    def read(self, name: str) -> Floats:
        """Returns a tensor, float32."""


class ModelFamily(ABC):
    """A model family: how its configuration and tensors are read, and what can be changed of them.

    Attributes:
        model_type: as a `config.json` says it.
        title: as people write it.
        artifact_family: what a manifest records.
        defaults: what transformers takes for keys that a `config.json` leaves out.
        token_matrices: tensors with one row a token; those that are tied are one tensor under several names.
        output_bias: the tensor with one column a token; empty where the family has none.
        has_sinusoidal_positions: whether positions that no file holds are computed.
        stores_positions: whether transformers takes positions from a file, so that a narrower model may keep its own.
        size_keys: the configuration keys that say how large a part is: `encoder_layers`, `decoder_layers`, `heads`,
            `head_width` or `width`, `encoder_feed_forward`, `decoder_feed_forward`, `tokens`.
        sensitive_products: patterns of matrix products that lose most where their inputs share a quantization scale,
            found on dev splits (docs/decisions/001-sensitive-layers.md): outliers of a few tokens set the scale.
        fp16_refusal: why weights are not stored in fp16; empty where they may be.
        ctranslate2_refusal: why CTranslate2 cannot run the family; empty where it can.
        language_token: tokens that say which language a text has, one for the source and one for the target; group 1 is
            the language's own name.
        begins_with_language: whether sources begin with their language's token, whatever a `tokenizer.json` says.
        target_token: tokens at the start of a source that choose the target's language, which group 1 names.
        pair_in_name: finds the languages in the name of a model on the hub.
        learns_languages_from_prefix: whether words before a text are all that says what to translate.
        tokenizer: the kind that is made for a new model.
        special_tokens: what a new tokenizer begins with, in the order of ids.
        sentinel: format of the sentinel tokens that a new tokenizer ends with, such as `<extra_id_{}>`; empty if none.
        decoder_start: which of the special tokens the decoder of a new model begins with.
        vocabulary_multiple: what the number of token rows of a new model is a multiple of.
    """

    model_type: ClassVar[str]
    title: ClassVar[str]
    artifact_family: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]]
    token_matrices: ClassVar[tuple[str, ...]]
    output_bias: ClassVar[str] = ""
    has_sinusoidal_positions: ClassVar[bool] = False
    stores_positions: ClassVar[bool] = True
    size_keys: ClassVar[Mapping[str, tuple[str, ...]]]
    sensitive_products: ClassVar[tuple[str, ...]]
    fp16_refusal: ClassVar[str] = ""
    ctranslate2_refusal: ClassVar[str] = ""
    language_token: ClassVar[re.Pattern[str] | None] = None
    begins_with_language: ClassVar[bool] = False
    target_token: ClassVar[re.Pattern[str] | None] = None
    pair_in_name: ClassVar[re.Pattern[str] | None] = None
    learns_languages_from_prefix: ClassVar[bool] = False
    tokenizer: ClassVar[Literal["unigram", "byte-pairs"]]
    special_tokens: ClassVar[tuple[str, ...]]
    sentinel: ClassVar[str] = ""
    decoder_start: ClassVar[str]
    vocabulary_multiple: ClassVar[int] = 1

    def architecture(self, config: Mapping[str, Any], tensors: Tensors) -> Architecture:
        """Reads a model's names and switches, or raises BadSource if a key or a tensor is missing."""
        try:
            architecture = self._architecture({**self.defaults, **without_nulls(config)}, tensors)
        except KeyError as error:
            raise BadSource(f"config.json says nothing of {error}") from error
        shapes = LayerShapes.from_config(config)
        return architecture if shapes is None else shapes.applied_to(architecture)

    @abstractmethod
    def _architecture(self, config: Mapping[str, Any], tensors: Tensors) -> Architecture:
        """Reads names and switches of a model whose layers have one shape, `config` with defaults."""

    @property
    def has_own_head_width(self) -> bool:
        """Whether the configuration says how wide a head is.

        Else a head is as wide as the width divided by the heads, so that heads are removed only together with residual
        channels.
        """
        return "head_width" in self.size_keys

    @property
    def has_one_feed_forward_width(self) -> bool:
        """Whether one configuration key holds for the feed-forwards of both stacks."""
        return self.size_keys["encoder_feed_forward"] == self.size_keys["decoder_feed_forward"]

    def resized(self, **sizes: int) -> dict[str, int]:
        """Returns the configuration of a model whose parts have these sizes, by the names in `size_keys`."""
        return {key: size for name, size in sizes.items() for key in self.size_keys.get(name, ())}

    def layer_counts(self, config: Mapping[str, Any]) -> tuple[int, int]:
        """Returns how many layers the encoder and the decoder have: the same, if only the encoder's key is there."""
        encoder_key, decoder_key = (self.size_keys[f"{stack}_layers"][0] for stack in ("encoder", "decoder"))
        return config[encoder_key], config.get(decoder_key) or config[encoder_key]

    def is_sentinel(self, token: str) -> bool:
        """Whether a token is a sentinel with a number, such as `<extra_id_7>`."""
        start, _, end = self.sentinel.partition("{}")
        number = token.removeprefix(start).removesuffix(end)
        return number.isdecimal() and token == self.sentinel.format(number)

    def max_positions(self, config: Mapping[str, Any]) -> int | None:
        """Returns the longest input or output that positions allow; None where there is no limit."""
        return None

    def trained_length(self, config: Mapping[str, Any]) -> int | None:
        """Returns the length of inputs that a model without a limit was trained with; None where nothing says it."""
        return None

    def sinusoidal_positions(self, positions: int, width: int) -> Floats:
        """Returns positions that no file holds, `(positions, width)`, float32: all sines, then all cosines.

        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
        """
        angles = np.arange(positions)[:, None] / 10000 ** (2 * (np.arange(width) // 2) / width)
        # An odd width has one sine more.
        sines = width // 2 + width % 2
        table = np.empty((positions, width), dtype=np.float32)
        table[:, :sines] = np.sin(angles[:, 0::2])
        table[:, sines:] = np.cos(angles[:, 1::2])
        return table

    def converter_keys(self) -> dict[str, Any]:
        """Returns the configuration that CTranslate2's own converter asks for, and transformers does not write.

        An import adds it, so that the library's tools read the artifact too.
        """
        return {}

    def special_ids(self) -> dict[str, int]:
        """Returns the special ids that the configuration of a new model names."""
        ids = {token: number for number, token in enumerate(self.special_tokens)}
        start = {"bos_token_id": ids["<s>"]} if "<s>" in ids else {}
        return start | {
            "pad_token_id": ids["<pad>"],
            "eos_token_id": ids["</s>"],
            "decoder_start_token_id": ids[self.decoder_start],
        }

    @abstractmethod
    def new_configuration(
        self, *, width: int, positions: int, dropout: float, is_gated: bool, is_tied: bool
    ) -> dict[str, Any]:
        """Returns the configuration of a new model, but for its sizes and special ids.

        Families without a limit of positions, gated feed-forwards or a choice of tied matrices ignore what says so.
        """


def tensor2tensor_positions(positions: int, width: int) -> Floats:
    """Returns sinusoidal positions as the library tensor2tensor has them, `(positions, width)`, float32.

    The last of the `width / 2` frequencies is exactly 1 / 10000. All sines come first, then all cosines.
    """
    frequencies = 10000.0 ** (-np.arange(width // 2) / (width // 2 - 1))
    angles = np.arange(positions)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
