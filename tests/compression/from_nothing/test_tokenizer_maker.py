"""A tokenizer that is made from texts: transformers and the store read the same ids from its files."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from slimseq.compression.errors import BadData
from slimseq.compression.from_nothing.tokenizer_maker import make_tokenizer, tokenizer_size
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.tiny import PREFIX, SENTENCES, tiny_tokenizer
from tests.families import Family


def loaded(folder: Path) -> PreTrainedTokenizerFast:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


TEXTS = (*SENTENCES[3], " two  spaces, and a\nline ", "Müßiggang “quoted” 42 %", "unseen: ☃")


@pytest.mark.parametrize("family", list(Family))
def test_transformers_loads_it_as_a_fast_tokenizer_that_agrees_with_the_stores(tmp_path: Path, family: Family) -> None:
    ours = Tokenizer(tiny_tokenizer(family, tmp_path))
    theirs = loaded(tmp_path)

    for text in TEXTS:
        ids = ours.encode(text, 512).ids
        assert theirs(text)["input_ids"] == ids
        assert str(theirs.decode(ids, skip_special_tokens=True)).strip() == ours.decode(ids)
    for text in (text for pair in SENTENCES for text in pair):
        assert ours.decode(ours.encode(text, 512).ids) == text


@pytest.mark.parametrize(
    ("family", "specials"),
    [(Family.T5, ["<pad>", "</s>", "<unk>"]), (Family.BART, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])],
)
def test_specials_have_the_familys_ids(tmp_path: Path, family: Family, specials: list[str]) -> None:
    theirs = loaded(tiny_tokenizer(family, tmp_path))

    assert theirs.convert_tokens_to_ids(specials) == list(range(len(specials)))
    assert len(theirs) == tokenizer_size(tmp_path)


def test_t5_marks_the_first_word_too_also_after_a_dateline_and_counts_sentinels_down(tmp_path: Path) -> None:
    theirs = loaded(tiny_tokenizer(Family.T5, tmp_path))

    assert theirs.tokenize("The cat")[0].startswith("▁")
    assert theirs(PREFIX + "The cat")["input_ids"][-1] == 1
    assert theirs.convert_tokens_to_ids("<extra_id_0>") == len(theirs) - 1
    glued, spaced = (Tokenizer(tmp_path).encode(text, 512).ids for text in ("(CNN)Snow fell", "(CNN) Snow fell"))
    assert glued == spaced


@pytest.mark.parametrize("family", list(Family))
def test_a_vocabulary_too_small_for_the_texts_is_refused(tmp_path: Path, family: Family) -> None:
    with pytest.raises(BadData, match="20"):
        make_tokenizer(family, ["abcdefghijklmnopqrstuvwxyz äöü"] * 3, 20, tmp_path, max_tokens=64)


@pytest.mark.parametrize(
    ("typographic", "plain"),
    [
        ("I can\u2019t, said \u2018Ann\u2019", "I can't, said 'Ann'"),
        ("\u201cGo\u201d \u2026", '"Go" ...'),
        ("one\u2014two \u2013 1\u20132, co\u2011op", "one - two - 1-2, co-op"),
        ("5\u00a0kg, 10\u202f000, soft\u00adware, \ufb01sh", "5 kg, 10 000, software, fish"),
    ],
)
def test_typographic_characters_are_read_as_plain_ones(tmp_path: Path, typographic: str, plain: str) -> None:
    ours = Tokenizer(tiny_tokenizer(Family.BART, tmp_path))
    theirs = loaded(tmp_path)

    assert ours.encode(typographic, 512).ids == theirs(typographic)["input_ids"]
    assert ours.encode(plain, 512).ids == theirs(typographic)["input_ids"]
    assert set(theirs(typographic)) == {"input_ids", "attention_mask"}
