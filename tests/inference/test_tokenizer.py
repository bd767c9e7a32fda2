"""The tokenizer of an artifact gives the ids of transformers, streams text in pieces, and drops control characters."""

from pathlib import Path
from typing import Any

import pytest

from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

SENTENCES = ["The children are playing in the garden.", "It costs 12.50 euros, doesn't it?", "„Grüße« — naïve café", ""]


@pytest.fixture(scope="module", params=list(Task))
def folder(request: pytest.FixtureRequest, embedded: Store) -> Path:
    return embedded.folder(request.param, "original")


@pytest.fixture
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    """The tokenizer of transformers."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", SENTENCES)
def test_ids_are_those_of_transformers(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    encoding = tokenizer.encode(text, 512)

    assert encoding.ids == reference(text)["input_ids"]
    assert not encoding.is_truncated


def test_pieces_as_they_come_make_the_whole_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Five 12% naïve cafés — «quoted».", 100).ids

    stream = tokenizer.stream()

    assert "".join(stream.push(token) for token in ids).strip() == tokenizer.decode(ids)


# The letters that stand for bytes in a byte-level vocabulary. `BROKEN` is no part of any character. `FIRST_OF_TWO`
# begins one, and with `NEXT_LINE` after it the character is U+0085.
ESCAPE, NUL, NEWLINE, TAB, DELETE, BROKEN, FIRST_OF_TWO, NEXT_LINE = "ěĀĊĉġÿÂħ"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["A", ESCAPE, "B"], "AB"),
        (["A", NUL, DELETE, "B"], "AB"),
        (["A", FIRST_OF_TWO, NEXT_LINE, "B"], "AB"),
        (["A", BROKEN, "B"], "AB"),
        (["A", FIRST_OF_TWO, "B"], "AB"),
        (["A", "B", FIRST_OF_TWO], "AB"),
        ([ESCAPE, TAB, "A", ESCAPE], "A"),
        (["A", NEWLINE, TAB, "B"], "A\n\tB"),
    ],
)
def test_bytes_that_are_sampled_make_no_control_characters_and_no_broken_ones(
    embedded: Store, tokens: list[str], text: str
) -> None:
    tokenizer = Tokenizer(embedded.folder(Task.TRANSLATION, "original"))
    ids = [tokenizer.vocabulary[token] for token in tokens]

    stream = tokenizer.stream()

    assert tokenizer.decode(ids) == text
    assert "".join(map(stream.push, ids)).strip() == text


def test_a_broken_tokenizer_is_named(own_store: Store) -> None:
    folder = own_store.folder(Task.TRANSLATION, "original")
    (folder / "tokenizer.json").write_text("[]")

    with pytest.raises(InvalidArtifact, match=r"tokenizer\.json cannot be read"):
        Tokenizer(folder)


# Most of the characters of the second and third text give no ids, so that the beginning must be doubled.
LONG = ["The bridge over the river is closed. " * 3000, " " * 100_000 + "word", "\n" * 70_000 + "The end. " * 900]


@pytest.mark.parametrize("text", [*LONG, "word " * 100])
def test_of_a_very_long_text_the_ids_are_those_of_all_of_it(tokenizer: Tokenizer, reference: Any, text: str) -> None:
    whole = reference(text)["input_ids"]

    encoding = tokenizer.encode(text, 64)

    # The end token stays.
    truncated = [*whole[:63], whole[-1]]
    assert encoding.ids == (truncated if len(whole) > 64 else whole)
    assert encoding.is_truncated == (len(whole) > 64)
    assert encoding.full_length <= len(whole)
    assert encoding.is_counted == (encoding.full_length == len(whole))


def test_many_texts_are_encoded_as_each_alone(tokenizer: Tokenizer) -> None:
    texts = [*SENTENCES, "word " * 5000, "a" * 30_000, " " * 9000, "e\u0301" * 9000]

    assert tokenizer.encode_many(texts, 64) == [tokenizer.encode(text, 64) for text in texts]
    assert tokenizer.encode_many([], 64) == []
