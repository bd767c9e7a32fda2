"""What the fields of a `config.json` and a `generation_config.json` may be: their types, and the largest numbers.

A stranger's configuration may name a billion layers, which would be made one by one, or a text where a number belongs.
Here either is an error that names the field. The bounds are far above every published encoder-decoder. They limit what
is made from a configuration alone, such as modules and tables of positions: it takes seconds and a gigabyte at most.
`configuration` checks each file that it reads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bound:
    """The smallest and the largest number that a field may have."""

    least: float
    most: float


# Each stack of the largest T5, mT5 and NLLB has 24. The modules of 256 layers are made in seconds.
LAYERS = Bound(1, 256)
# T5-11B has 128 heads, each 128 wide.
HEADS = Bound(1, 1024)
HEAD_WIDTH = Bound(1, 4096)
# The widest published encoder-decoder has 4,672 (ByT5-XXL). A table of computed positions has 1 GiB at most:
# 16,384 positions, 16,384 wide, in float32.
WIDTH = Bound(1, 16_384)
# T5-11B has 65,536.
FEED_FORWARD = Bound(1, 2**20)
# mT5 and NLLB have 256,000 tokens, XLM-V a million.
VOCABULARY = Bound(1, 2**22)
# `GenerationDefaults.max_input_tokens` has the same maximum. The longest published ones have 16,384 positions.
POSITIONS = Bound(1, 16_384)
# T5 has 32 buckets. A decoder bins by their half, and one exact bin is needed.
BUCKETS = Bound(4, 1024)
DISTANCE = Bound(3, 2**20)
LENGTH = Bound(0, 2**31)
# Labels of classifiers, which a configuration may have too: transformers makes a name for each.
LABELS = Bound(0, 10_000)
EPSILON = Bound(1e-12, 1)
# Limits of a value that an error shows.
MAX_SHOWN_CHARACTERS = 60
MAX_SHOWN_DIGITS = 20

INTEGERS: Mapping[str, Bound] = {
    **dict.fromkeys(
        ("num_layers", "num_decoder_layers", "num_hidden_layers", "encoder_layers", "decoder_layers"), LAYERS
    ),
    **dict.fromkeys(("num_heads", "encoder_attention_heads", "decoder_attention_heads", "attention_heads"), HEADS),
    **dict.fromkeys(("d_kv", "head_width"), HEAD_WIDTH),
    "d_model": WIDTH,
    **dict.fromkeys(("d_ff", "encoder_ffn_dim", "decoder_ffn_dim"), FEED_FORWARD),
    **dict.fromkeys(("vocab_size", "decoder_vocab_size", "source_vocab_size"), VOCABULARY),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), POSITIONS),
    "relative_attention_num_buckets": BUCKETS,
    "relative_attention_max_distance": DISTANCE,
    "num_labels": LABELS,
    **dict.fromkeys(("max_length", "max_new_tokens", "min_length", "min_new_tokens"), LENGTH),
    **dict.fromkeys(("num_beams", "num_return_sequences", "no_repeat_ngram_size", "top_k"), LENGTH),
}
NUMBERS: Mapping[str, Bound] = {
    "layer_norm_epsilon": EPSILON,
    "length_penalty": Bound(-1e6, 1e6),
    "repetition_penalty": Bound(0, 1e6),
    "temperature": Bound(0, 1e6),
    "top_p": Bound(0, 1),
}
# The other fields that are checked, by type.
TEXTS = ("model_type", "feed_forward_proj", "dense_act_fn", "activation_function", "prefix")
SWITCHES = (
    *("tie_word_embeddings", "scale_decoder_outputs", "scale_embedding", "is_gated_act", "is_encoder_decoder"),
    *("do_sample", "static_position_embeddings"),
)
TABLES = ("task_specific_params",)
SCALES = ("activation_scales",)
ONE_TOKEN = ("pad_token_id", "bos_token_id", "decoder_start_token_id", "forced_bos_token_id")
TOKENS = ("eos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens")
SEQUENCES = ("bad_words_ids",)
# Fields whose other values choose code that transformers fetches from a hub, or a storage format that is not read here,
# and the values that are allowed.
LOADERS = {
    "attn_implementation": (None, "eager", "sdpa"),
    "_attn_implementation": (None, "eager", "sdpa"),
    "experts_implementation": (None, "eager"),
    "_experts_implementation": (None, "eager"),
    "quantization_config": (None,),
}


def problem_of(fields: Mapping[str, Any], vocabulary: int | None = None) -> str | None:
    """Returns what is wrong with the fields of a configuration, None if nothing is.

    A field that is not there or null is left to the family's defaults. Ids of tokens are below `vocabulary`, or below
    the fields' own `vocab_size`.
    """
    for name, value in fields.items():
        reason = None if value is None else _problem(name, value)
        if reason:
            return f"{name} is {shown(value)}, {reason}"
    if vocabulary is None:
        vocabulary = fields.get("vocab_size")
    buckets, distance = fields.get("relative_attention_num_buckets"), fields.get("relative_attention_max_distance")
    if buckets and distance and distance <= buckets // 2:
        return f"relative_attention_max_distance is {distance}, not above half of the {buckets} buckets"
    for name in (*ONE_TOKEN, *TOKENS, *SEQUENCES):
        for token in _tokens(fields.get(name)):
            if vocabulary is not None and not 0 <= token < vocabulary:
                return f"{name} is {shown(fields[name])}, and the model has the tokens 0 to {vocabulary - 1}"
    return None


def without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that say something.

    Null counts as missing. A switch that is null is off, as transformers takes it.
    """
    return {name: value for name, value in fields.items() if value is not None or name in SWITCHES}


def shown(value: Any) -> str:
    """Returns a value as an error may show it: on one line, and short."""
    if isinstance(value, dict):
        return f"a table of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    # Python refuses to write integers with very many digits.
    if isinstance(value, int) and abs(value) >= 10**MAX_SHOWN_DIGITS:
        return f"a number of more than {MAX_SHOWN_DIGITS} digits"
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


def _problem(name: str, value: Any) -> str | None:
    """Returns what is wrong with the value of one field."""
    if name in LOADERS and value not in LOADERS[name]:
        return "which is not read"
    if name in INTEGERS:
        if not _is_integer(value):
            return "not a whole number"
        return _outside(INTEGERS[name], value, "a whole number")
    if name in NUMBERS:
        if not _is_number(value):
            return "not a number"
        return _outside(NUMBERS[name], value, "a number")
    if name in TEXTS and not _is_text(value):
        return "not a text"
    if name in SWITCHES and not isinstance(value, bool):
        return "neither true nor false"
    if name in TABLES:
        return _problem_of_tables(value)
    if name in SCALES and not (
        isinstance(value, dict) and all(_is_number(each) and each > 0 for each in value.values())
    ):
        return "not a table of numbers above 0"
    return _problem_of_ids(name, value)


def _problem_of_ids(name: str, value: Any) -> str | None:
    """Returns what is wrong with the value of a field that has ids of tokens. Any other field is right."""
    if name in ONE_TOKEN and not _is_integer(value):
        return "not the id of a token"
    if name in TOKENS and not (_is_integer(value) or _is_integers(value)):
        return "neither the id of a token nor a list of such"
    if name in SEQUENCES and not (isinstance(value, list) and all(each and _is_integers(each) for each in value)):
        return "not a list of lists of ids of tokens"
    return None


def _problem_of_tables(value: Any) -> str | None:
    """Returns what is wrong with a table of tables of fields."""
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        return "not a table of tables"
    for table in value.values():
        # Tables in these tables are not looked into: nothing reads them.
        problem = problem_of({name: inner for name, inner in table.items() if name not in TABLES})
        if problem:
            return f"in which {problem}"
    return None


def _outside(bound: Bound, value: float, kind: str) -> str | None:
    """Returns what is wrong with a number that is out of bounds."""
    return None if bound.least <= value <= bound.most else f"not {kind} from {bound.least:g} to {bound.most:,}"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_integers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_integer, value))


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be written. JSON may have half of a surrogate pair, which cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tokens(value: Any) -> list[int]:
    """Returns the ids of a field: of one token, of a list, or of a list of lists."""
    if value is None:
        return []
    if not isinstance(value, list):
        return [value]
    return [token for each in value for token in _tokens(each)]
