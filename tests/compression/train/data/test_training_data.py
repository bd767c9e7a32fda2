"""Training data from files, and its token ids."""

import json
from pathlib import Path

import pytest

from slimseq.compression.errors import BadData
from slimseq.compression.train.data.training_data import Limits, TrainingSet, read_examples
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_tokenizer
from tests.families import Family


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"source": "one", "target": "eins", "prefix": "p: "}) + "\n")
    (tmp_path / "b.tsv").write_text("two\tzwei\n")

    examples = read_examples(Task.TRANSLATION, [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.tsv"])

    assert examples == [Example("one", "eins", "p: "), Example("two", "zwei")]


def test_data_that_cannot_be_read_is_bad_data(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no file"):
        read_examples(Task.TRANSLATION, [str(tmp_path / "a.jsonl")])
    with pytest.raises(BadData, match="--data"):
        read_examples(Task.TRANSLATION, [])


@pytest.mark.parametrize("family", list(Family))
def test_long_texts_are_cut_and_keep_their_closing_special(tmp_path: Path, family: Family) -> None:
    tokenizer = Tokenizer(tiny_tokenizer(family, tmp_path))
    long = Example("The cat sleeps. " * 20, "Die Katze schläft. " * 20)
    pair = TrainingSet([long], tokenizer, "", Limits(16, 9))[0]
    end = tokenizer.encode("x", 16).ids[-1]

    assert (len(pair.source), len(pair.target)) == (16, 9)
    assert pair.source[-1] == end
    assert pair.target[-1] == end


def test_an_examples_own_prefix_replaces_the_artifacts(tmp_path: Path) -> None:
    tokenizer = Tokenizer(tiny_tokenizer(Family.T5, tmp_path))
    pairs = TrainingSet([Example("cat", "a"), Example("cat", "a", "headline: ")], tokenizer, "say: ", Limits(32, 32))

    assert pairs[0].source == tokenizer.encode("say: cat", 32).ids
    assert pairs[1].source == tokenizer.encode("headline: cat", 32).ids
