"""A stranger's `tokenizer.json` cannot take very long, fill the memory or end a thread: it is refused before."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, normalizers

from slimseq.inference.tokenizer import Tokenizer, read_fast
from slimseq.inference.tokenizer_file import (
    KNOWN_PATTERNS,
    SLOW_PATTERNS,
    check_tokenizer,
    read_checked,
    replace_slow_patterns,
)
from slimseq.models_store.errors import InvalidArtifact, SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

BACKTRACKING = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
# Characters of texts on which the time of expressions is measured: one length is four times the other.
SHORT, LONG = 5_000, 20_000


@pytest.fixture
def tokenizer(embedded: Store) -> dict[str, Any]:
    path = embedded.folder(Task.SUMMARIZATION, "original") / "tokenizer.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def written(folder: Path, tokenizer: Any) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder / "tokenizer.json"


def replacing(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def table(trie_bytes: int, replacement: bytes) -> dict[str, str]:
    encoded = base64.b64encode(trie_bytes.to_bytes(4, "little") + replacement).decode()
    return {"type": "Precompiled", "precompiled_charsmap": encoded}


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        (
            "pre_tokenizer",
            BACKTRACKING,
            r"its pre_tokenizer has a regular expression that no known family has, .*: '\(",
        ),
        ("normalizer", replacing({"Regex": "(a|a)*b"}, ""), "its normalizer has a regular expression"),
        ("decoder", replacing({"Regex": r"\s+$"}, ""), "its decoder has a regular expression"),
        # As the library reads it too: without a type, and deep inside.
        ("normalizer", sequence(sequence({"pattern": {"Regex": "(a+)+$"}, "content": ""})), "a regular expression"),
        ("normalizer", replacing({"Regex": r"\A +| +\z"}, ""), "a regular expression"),
        ("normalizer", replacing({"Regex": "a||b"}, ""), "a regular expression"),
        ("normalizer", replacing({"Regex": "x" * 5000}, ""), "a regular expression"),
        ("normalizer", replacing({"String": ""}, "xx"), "its normalizer replaces an empty text"),
        ("normalizer", sequence(*[replacing({"String": "e"}, "ee")] * 30), "more than 256 times as long"),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}] * 9}, "more than 256 times"),
        ("normalizer", sequence(*[{"type": "NFC"}] * 3000), "its normalizer has more than 2048 steps"),
        ("normalizer", table(0, b"x" * 1000), "a replacement of more than 64 bytes"),
        ("normalizer", table(2**31, b""), "is damaged: its trie is larger than the table"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "?"}, "the table of its normalizer is damaged"),
        ("model", {"type": "Unigram", "vocab": [["a" * 1000, 0.0]]}, "a piece of 1,000 characters, more than 256"),
        ("model", {"type": "WordPiece", "vocab": {}, "max_input_chars_per_word": 10**9}, "more than 1000 characters"),
        ("model", {"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.5}, r"merged at random \(dropout\)"),
        ("model", {"type": "BPE"}, "its model has no vocabulary"),
        ("model", None, "it has no model"),
    ],
)
def test_a_part_that_no_known_family_has_is_refused_before_the_library_reads_it(
    tokenizer: dict[str, Any], tmp_path: Path, part: str, value: Any, said: str
) -> None:
    path = written(tmp_path, tokenizer | {part: value})

    with pytest.raises(InvalidArtifact, match=rf"tokenizer.json cannot be read: .*{said}") as refused:
        read_checked(path)

    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"normalizer": ' * 200_000, "nested too deeply"),
        ('{"normalizer": ' + "[" * 100 + "]" * 100 + ', "model": {"vocab": {}}}', "nested more than 16 deep"),
        ('{"normalizer": null, "normalizer": {"type": "NFC"}}', "a name is in an object of it twice"),
        ("[]", "it is no JSON object"),
        ("{", "cannot be read"),
    ],
)
def test_a_file_of_another_form_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)

    with pytest.raises(InvalidArtifact, match=said) as refused:
        read_fast(tmp_path / "tokenizer.json")

    assert len(str(refused.value).splitlines()) == 1


def test_an_expression_of_literal_pieces_is_accepted(tokenizer: dict[str, Any]) -> None:
    literal = r"<br>|\.\.\.|\[X\]|▁"
    split = {"type": "Split", "pattern": {"Regex": literal}, "behavior": "Isolated", "invert": False}

    check_tokenizer(tokenizer | {"pre_tokenizer": split})


def repetitions(length: int) -> Iterator[str]:
    """Yields texts in which one or two characters that known expressions look for are repeated."""
    letters = " a1\n—)'中\u200b“"
    for first in letters:
        for second in ("", *letters):
            yield f"x{(first + second) * (length // (1 + len(second)))}y"


@pytest.mark.parametrize("pattern", sorted(KNOWN_PATTERNS))
def test_a_known_expression_takes_linear_time(pattern: str) -> None:
    step = normalizers.Replace(Regex(pattern), " ")

    def seconds(length: int) -> float:
        started = time.process_time()
        for text in repetitions(length):
            step.normalize_str(text)
        return time.process_time() - started

    # Linear time is 4 times as long, and quadratic time 16 times. Times below 0.05 s are too short to compare.
    assert seconds(LONG) < 10 * max(seconds(SHORT), 0.05)


def test_a_slow_expression_is_replaced_by_one_with_the_same_matches(tokenizer: dict[str, Any]) -> None:
    slow, fast = next(iter(SLOW_PATTERNS.items()))
    tokenizer["normalizer"] = sequence({"type": "NFC"}, replacing({"Regex": slow}, ""))

    assert replace_slow_patterns(tokenizer)
    assert not replace_slow_patterns(tokenizer)

    check_tokenizer(tokenizer)
    assert tokenizer["normalizer"]["normalizers"][1]["pattern"] == {"Regex": fast}
    for text in ("", " ", "   ", " a ", "a  b  ", "  a\n ", "a \n", "\n  "):
        matched = [normalizers.Replace(Regex(each), "|").normalize_str(text) for each in (slow, fast)]
        assert matched[0] == matched[1]


def test_a_panic_of_the_library_is_an_error_of_the_artifact(
    tokenizer: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimseq.inference.tokenizer_file.KNOWN_PATTERNS", {"(a+)+$"})
    written(tmp_path, tokenizer | {"normalizer": None, "pre_tokenizer": BACKTRACKING})
    panics = Tokenizer(tmp_path)
    text = "a" * 40 + "b"

    for call in (
        lambda: panics.encode(text, 100),
        lambda: panics.encode_many([text], 100),
        lambda: panics.encode_output(text, 1, 100),
    ):
        with pytest.raises(SlimseqError, match=r"tokenizer\.json does not work: Onig: Regex search error: retry-limit"):
            call()


def test_tokens_that_the_model_has_not_are_left_out(embedded: Store, tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    folder = embedded.folder(Task.SUMMARIZATION, "original")
    size = 1 + max(token["id"] for token in tokenizer["added_tokens"])
    mask = tokenizer["added_tokens"][-1] | {"id": size, "content": "<mask>"}
    written(tmp_path, tokenizer | {"added_tokens": [*tokenizer["added_tokens"], mask]})
    masked, plain = Tokenizer(tmp_path, sources=size, targets=size), Tokenizer(folder)

    assert masked.id_of("<mask>") == size
    for text in ("<mask>", "A <mask> b."):
        assert max(masked.encode(text, 100).ids) < size
        assert max(masked.encode_many([text], 100)[0].ids) < size
        assert max(masked.encode_output(text, None, 100).ids) < size
    assert masked.encode("No such token.", 100) == plain.encode("No such token.", 100)


def test_a_template_that_adds_many_tokens_is_refused(tokenizer: dict[str, Any], tmp_path: Path) -> None:
    processor = tokenizer["post_processor"]
    end = next(piece for piece in processor["single"] if "SpecialToken" in piece)
    written(tmp_path, tokenizer | {"post_processor": processor | {"single": [*processor["single"], *[end] * 99]}})

    with pytest.raises(InvalidArtifact, match=r"tokenizer\.json adds 100 tokens to a text, more than 4"):
        Tokenizer(tmp_path)
