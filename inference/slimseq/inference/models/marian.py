"""Marian, the models of OPUS-MT: BART with sinusoidal positions and no norm of embeddings.

Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344. Such a model translates one pair, or chooses its target
by a token at the start of a text.
"""

import re
from types import MappingProxyType
from typing import ClassVar

from slimseq.inference.models.bart import Bart


class Marian(Bart):
    """Marian. Targets are chosen by tokens such as `>>fra<<`; names end in the pair: opus-mt-tc-big-fr-en."""

    model_type = "marian"
    title = "Marian"
    has_embedding_norm = False
    has_sinusoidal_positions = True
    position_offset = 0
    size_keys = MappingProxyType({**Bart.size_keys, "tokens": ("vocab_size", "decoder_vocab_size")})
    tokenizer = "unigram"
    special_tokens: ClassVar[tuple[str, ...]] = ("</s>", "<unk>", "<pad>")
    decoder_start = "<pad>"
    target_token = re.compile(r">>([^<>]+)<<")
    pair_in_name = re.compile(r"opus-mt(?:-[a-z]+-(?:big|base|tiny|small))?-([A-Za-z_]+)-([A-Za-z_]+)$")
