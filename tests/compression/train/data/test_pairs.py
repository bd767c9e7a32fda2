import gzip
import json
from pathlib import Path

import pytest

from slimseq.compression.errors import BadData
from slimseq.compression.train.data.pairs import Limits, TrainingSet, read_examples
from slimseq.evaluation.examples import Example
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_tokenizer
from tests.families import Family


def test_files_of_every_kind_are_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"source": "one", "target": "eins"}) + "\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps({"source": "two", "target": "zwei", "prefix": "p: "}) + "\n")
    (tmp_path / "c.en").write_text("three\n")
    (tmp_path / "c.de").write_text("drei\n")
    (tmp_path / "d.tsv").write_text("four\tvier\n")

    names = [f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl.gz", f"{tmp_path}/c.en:{tmp_path}/c.de", f"{tmp_path}/d.tsv"]
    examples = read_examples(Task.TRANSLATION, names)

    assert examples == [
        Example("one", "eins"),
        Example("two", "zwei", "p: "),
        Example("three", "drei"),
        Example("four", "vier"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", '{"source": "a", "target": "b"}\n{"source": "a"}\n', "line 2"),
        ("a.jsonl", "not json\n", "line 1"),
        ("a.jsonl", "", "has no examples"),
        ("a.jsonl", None, "no file"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(BadData, match=said) as caught:
        read_examples(Task.TRANSLATION, [str(tmp_path / name)])

    assert "\n" not in str(caught.value)


def test_misaligned_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\ntwo\n")
    (tmp_path / "a.de").write_text("eins\n")

    with pytest.raises(BadData, match="not parallel"):
        read_examples(Task.TRANSLATION, [f"{tmp_path}/a.en:{tmp_path}/a.de"])


def test_no_file_at_all_is_refused() -> None:
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
