"""A Marian model's two SentencePiece models become one fast tokenizer that gives transformers' ids."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, MarianTokenizer

from slimseq.compression.importing.sentencepiece_tokenizers import write_fast_marian_tokenizer
from slimseq.evaluation.datasets import load_examples
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.errors import BadSource
from slimseq.models_store.manifest import Task
from tests.compression.language_models import marian_tokenizer, trained

PAIRS = load_examples(Task.TRANSLATION, "sample").examples
SOURCES = [example.source for example in PAIRS]
TARGETS = [example.target for example in PAIRS]
UNUSUAL = [
    "  Two  spaces,\tand a tab \n",
    "\ufb01ne \u00bd \uff26\uff55\uff4c\uff4c width\u2026",
    "A word that is in no sentence: zyxomma",
    ">>deu<< Where is it?",
    "the end </s> is not the end",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with tokenizer files as the hub has them."""
    marian_tokenizer(tmp_path / "marian", (SOURCES, TARGETS), ["deu"], vocab_size=300)
    return tmp_path / "marian"


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_ids_and_texts_are_those_of_transformers(folder: Path, tmp_path: Path) -> None:
    reference = MarianTokenizer.from_pretrained(folder)
    write_fast_marian_tokenizer(folder, tmp_path)
    ours = Tokenizer(tmp_path)

    for text in [*SOURCES, *UNUSUAL]:
        assert ours.encode(text, 512).ids == reference(text).input_ids
    for text in TARGETS:
        ids = reference(text_target=text).input_ids
        assert ours.decode(ids) == reference.decode(ids, skip_special_tokens=True)


def test_transformers_reads_what_was_written(folder: Path, tmp_path: Path) -> None:
    write_fast_marian_tokenizer(folder, tmp_path)

    fast = AutoTokenizer.from_pretrained(tmp_path)

    assert fast(SOURCES[0]).input_ids == Tokenizer(tmp_path).encode(SOURCES[0], 512).ids
    assert (fast.eos_token, fast.pad_token) == ("</s>", "<pad>")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("vocab.json", b'{"<unk>": 0, "</s>": 1}', "vocab.json has no <pad>"),
        ("target_vocab.json", b"{}", "one vocabulary for sources and another for targets"),
        ("source.spm", b"no model", "source.spm cannot be read"),
        ("source.spm", None, "source.spm is no unigram model"),
    ],
)
def test_a_tokenizer_that_cannot_be_converted_is_refused(
    folder: Path, tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    (folder / name).write_bytes(trained(SOURCES, model_type="bpe", vocab_size=300) if content is None else content)

    with pytest.raises(BadSource, match=complaint):
        write_fast_marian_tokenizer(folder, tmp_path)

    assert not (tmp_path / "tokenizer.json").exists()
