r"""Checks a `tokenizer.json` before the library reads it: a stranger's may take very long, or fill the memory.

The library runs the file's regular expressions by backtracking, without a time limit: `(a+)+$` takes exponential time,
and ` +\z` quadratic time on spaces. Past a limit of retries it panics. Therefore only expressions that the tokenizers
of known families have are accepted, and literal texts. Steps that make a text longer are bounded too: two hundred small
steps that each double a letter would fill any memory.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slimseq.models_store.errors import InvalidArtifact, shortened
from slimseq.models_store.files import short_name
from slimseq.models_store.model_folder import read_regular

# Regular expressions that take linear time, by what writes them.
KNOWN_PATTERNS = frozenset(
    {
        # transformers' converters of SentencePiece models: T5, mT5, mBART, NLLB, PEGASUS; and our own.
        r" {2,}",
        # PEGASUS, as transformers 5 makes it of a vocabulary.
        r"\n",
        # BARThez, an mBART.
        r"\s{2,}|[\n\r\t]",
        # SentencePiece models of no known class in transformers 5, the first one as `import` writes it.
        r"\A +|(?<! ) +\z",
        r"\A▁",
        # Byte-level pairs of GPT-2, which BART has, where they are written out.
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        # What `train` makes: for unigram tokenizers, then for byte-level ones.
        r"\)(?=\p{L})",
        "[\u2018\u2019\u201b\u02bc\u00b4]",
        "[\u201c\u201d\u201e\u201f]",
        "(?<=\\w)[\u2014\u2015](?=\\w)",
        "[\u2010-\u2015\u2212]",
        "[\u00a0\u2000-\u200a\u202f]",
        "[\u00ad\u200b]",
    }
)
# Expressions of known families that take quadratic time, and those with the same matches that take linear time.
SLOW_PATTERNS = {r"\A +| +\z": r"\A +|(?<! ) +\z"}
# Alternatives of literal texts, `piece|other piece`, which transformers 5 writes for the pieces that a user defined:
# letters, escaped signs and bars.
_LITERAL = r"(?:[^\\.^$*+?{}\[\]()|]|\\[^A-Za-z0-9])+"
LITERALS = re.compile(rf"{_LITERAL}(?:\|{_LITERAL})*")
MAX_LITERAL_CHARACTERS = 2000

# The parts of a file that consist of steps, and the kinds of models that the library has.
PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
MODELS = ("BPE", "Unigram", "WordPiece", "WordLevel")
# JSON objects of one part. A part of a published tokenizer has ten steps at most. A template of many languages has
# three objects for each language.
MAX_OBJECTS = 2048
# How deep the steps of a part may be nested.
MAX_DEPTH = 16
# How many times as long the replacements of one part may make a text. The replacements of `train` would make a text 36
# times as long, if each replaced what the one before it wrote.
MAX_GROWTH = 256
# Limit of what a table of SentencePiece replaces a character with. The longest in known tables replaces U+FDFA: four
# Arabic words, 33 bytes.
MAX_REPLACEMENT_BYTES = 64
# A unigram model looks for pieces of each length at each character. SentencePiece makes pieces of up to 16 characters.
MAX_PIECE_CHARACTERS = 256
# The longest word in which the library may look for pieces. Its own default is 100; longer words are unknown tokens.
MAX_WORD_CHARACTERS = 1000
# The length of the number before a table of SentencePiece, which is the size of its trie.
SIZE_BYTES = 4
# UTF-8 writes a character in up to four bytes.
MAX_BYTES_OF_CHARACTER = 4


def read_checked(path: Path) -> str:
    """Reads a `tokenizer.json` and returns its text, for the library to read.

    Raises:
        InvalidArtifact: it cannot be read, or has a part that is refused; says which.
    """
    try:
        text = read_regular(path).decode()
        tokenizer = json.loads(text, object_pairs_hook=_object)
        if not isinstance(tokenizer, dict):
            raise ValueError("it is no JSON object")
        check_tokenizer(tokenizer)
    except RecursionError as error:
        raise InvalidArtifact(f"{short_name(path)} cannot be read: it is nested too deeply") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArtifact(f"{short_name(path)} cannot be read: {reason}") from error
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object. Refuses a name that is there twice: this check and the library could take other values."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name is in an object of it twice")
    return fields


def check_tokenizer(tokenizer: dict[str, Any]) -> None:
    """Checks a parsed `tokenizer.json`. Raises ValueError for the first part that is refused."""
    for name in PARTS:
        objects = list(_objects(tokenizer.get(name)))
        if len(objects) > MAX_OBJECTS:
            raise ValueError(f"its {name} has more than {MAX_OBJECTS} steps")
        for each in objects:
            _check_object(name, each)
        if _growth(objects) > MAX_GROWTH:
            raise ValueError(f"its {name} may make a text more than {MAX_GROWTH} times as long")
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise ValueError("it has no model")
    _check_model(model)


def replace_slow_patterns(tokenizer: dict[str, Any]) -> bool:
    """Replaces the expressions in `SLOW_PATTERNS`, in place; returns whether there was one."""
    found = False
    for name in PARTS:
        for each in _objects(tokenizer.get(name)):
            expression = each.get("Regex")
            if isinstance(expression, str) and expression in SLOW_PATTERNS:
                each["Regex"] = SLOW_PATTERNS[expression]
                found = True
    return found


def _objects(part: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yields all JSON objects of a part: its steps, the steps of sequences, and what steps consist of."""
    if depth > MAX_DEPTH:
        raise ValueError(f"its steps are nested more than {MAX_DEPTH} deep")
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _objects(inner, depth + 1)


def _check_object(part: str, each: dict[str, Any]) -> None:
    """Checks one object of a part: a step, or what a step consists of."""
    expression = each.get("Regex")
    if expression is not None and not _is_known(expression):
        shown = ascii(shortened(expression, 60)) if isinstance(expression, str) else "that is no text"
        raise ValueError(
            f"its {part} has a regular expression that no known family has, and that may take very long: {shown}"
        )
    if each.get("String") == "":
        raise ValueError(f"its {part} replaces an empty text")
    if each.get("type") == "Precompiled":
        problem = _problem_of_table(each.get("precompiled_charsmap"))
        if problem:
            raise ValueError(f"the table of its {part} {problem}")


def _is_known(expression: Any) -> bool:
    """Whether a regular expression is one of the accepted ones."""
    if not isinstance(expression, str):
        return False
    is_literal = len(expression) <= MAX_LITERAL_CHARACTERS and LITERALS.fullmatch(expression) is not None
    return is_literal or expression in KNOWN_PATTERNS


def _problem_of_table(encoded: Any) -> str | None:
    """Returns what is wrong with a table of characters: a trie with its size before it, and replacements after it."""
    try:
        table = base64.b64decode(encoded or "", validate=True)
    except (TypeError, binascii.Error, ValueError):
        return "is damaged"
    if not table:
        return None
    size = SIZE_BYTES + int.from_bytes(table[:SIZE_BYTES], "little")
    if size > len(table) or size % SIZE_BYTES:
        return "is damaged: its trie is larger than the table"
    if max(map(len, table[size:].split(b"\0"))) > MAX_REPLACEMENT_BYTES:
        return f"has a replacement of more than {MAX_REPLACEMENT_BYTES} bytes"
    return None


def _growth(objects: list[dict[str, Any]]) -> int:
    """Returns how many times as long the steps of a part may make a text."""
    growth = 1
    for step in objects:
        # The keys under which a step has what it writes: for each character, in the worst case.
        for name in ("content", "prepend", "replacement"):
            value = step.get(name)
            growth *= max(len(value), 1) if isinstance(value, str) else 1
        # Each byte becomes a character, and a character outside of ASCII has several bytes.
        if step.get("type") == "ByteLevel":
            growth *= MAX_BYTES_OF_CHARACTER
        # The exact number does not matter above the limit, and would have many digits.
        growth = min(growth, MAX_GROWTH + 1)
    return growth


def _check_model(model: dict[str, Any]) -> None:
    """Checks the vocabulary and the limits of the model."""
    kind = model.get("type")
    if kind is not None and kind not in MODELS:
        raise ValueError(f"its model is none of {', '.join(MODELS)}")
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict | list):
        raise ValueError("its model has no vocabulary")
    # Unigram models have a list of pieces with their scores, others a table from piece to id.
    pieces = [each[0] if isinstance(each, list) and each else each for each in vocabulary]
    if not all(isinstance(each, str) for each in pieces):
        raise ValueError("its vocabulary has a piece that is no text")
    longest = max(map(len, pieces), default=0)
    if longest > MAX_PIECE_CHARACTERS:
        raise ValueError(f"its vocabulary has a piece of {longest:,} characters, more than {MAX_PIECE_CHARACTERS}")
    word = model.get("max_input_chars_per_word")
    if word is not None and not (isinstance(word, int) and word <= MAX_WORD_CHARACTERS):
        raise ValueError(f"it looks for pieces in words of more than {MAX_WORD_CHARACTERS} characters")
    if model.get("dropout"):
        raise ValueError("its byte pairs are merged at random (dropout)")
