"""Data sets by name, by file and by pair of files: the bundled sample, public test sets, and what is refused."""

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slimseq.evaluation.dataset_files import DatasetUnavailable, Example
from slimseq.evaluation.datasets import (
    bundled_sample,
    dataset_languages,
    dataset_names,
    load_examples,
    read_from_hub,
)
from slimseq.inference.text.language import foreign_language
from slimseq.models_store.manifest import Task

PAIRS = '{"source": "Good morning.", "target": "Guten Morgen."}\n{"source": "Thanks.", "target": "Danke."}\n'


@pytest.mark.parametrize(("task", "examples"), [(Task.SUMMARIZATION, 40), (Task.TRANSLATION, 80)])
def test_the_bundled_sample_needs_no_file_and_no_network(task: Task, examples: int) -> None:
    sample = load_examples(task, "sample")

    assert (sample.name, sample.split) == ("sample", "test")
    assert len(sample.examples) >= examples
    assert len({example.source for example in sample.examples}) == len(sample.examples)


@pytest.mark.parametrize(
    ("file", "options", "name", "split", "samples"),
    [
        ("dev.tatoeba.jsonl.gz", {}, "dev.tatoeba", "dev", 2),
        ("letters.2024.jsonl", {"split": "validation"}, "letters.2024", "validation", 2),
        ("test.jsonl", {"samples": 1}, "test", "test", 1),
    ],
)
def test_a_file_is_named_without_its_endings_and_says_its_split(
    tmp_path: Path, file: str, options: dict[str, Any], name: str, split: str, samples: int
) -> None:
    content = PAIRS + ("" if samples == 2 else "this is not read\n")
    (tmp_path / file).write_bytes(gzip.compress(content.encode()) if file.endswith(".gz") else content.encode())

    sample = load_examples(Task.TRANSLATION, str(tmp_path / file), **options)

    assert (sample.name, sample.split) == (name, split)
    assert sample.examples == (Example("Good morning.", "Guten Morgen."), Example("Thanks.", "Danke."))[:samples]


def test_parallel_text_is_given_as_two_files(tmp_path: Path) -> None:
    (tmp_path / "test.news.en").write_text("Hi.\nThanks.\n", encoding="utf-8")
    (tmp_path / "test.news.de").write_text("Hallo.\nDanke.\n", encoding="utf-8")

    sample = load_examples(Task.TRANSLATION, f"{tmp_path}/test.news.en:{tmp_path}/test.news.de")

    assert (sample.name, sample.split) == ("test.news", "test")
    assert sample.examples == (Example("Hi.", "Hallo."), Example("Thanks.", "Danke."))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("wmt99", {}, "no data set 'wmt99': name one of sample, sample-pt, wmt14-de-en, a file"),
        ("cnn_dailymail", {}, "cnn_dailymail is for summarization; for translation there is sample"),
        ("sample", {"samples": 0}, "at least 1"),
        ("sample", {"split": "dev"}, "only the split 'test', not 'dev'"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetUnavailable, match=said):
        load_examples(Task.TRANSLATION, name, **options)


def test_a_file_without_examples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text("\n\n", encoding="utf-8")

    with pytest.raises(DatasetUnavailable, match="has no examples"):
        load_examples(Task.TRANSLATION, str(tmp_path / "test.jsonl"))


def test_each_task_has_the_sample_and_one_public_test_set() -> None:
    assert dataset_names(Task.SUMMARIZATION) == ("sample", "cnn_dailymail")
    assert dataset_names(Task.TRANSLATION) == ("sample", "sample-pt", "wmt14-de-en")


@pytest.mark.parametrize(
    ("task", "name", "languages"),
    [
        (Task.SUMMARIZATION, "sample", ["en"]),
        (Task.SUMMARIZATION, "cnn_dailymail", ["en"]),
        (Task.TRANSLATION, "sample", ["en", "de"]),
        (Task.TRANSLATION, "sample-pt", ["en", "pt"]),
        (Task.TRANSLATION, "wmt14-de-en", ["en", "de"]),
    ],
)
def test_a_data_set_with_a_name_says_its_languages(task: Task, name: str, languages: list[str]) -> None:
    assert dataset_languages(task, name) == languages
    if name.startswith("sample"):
        assert bundled_sample(task, languages) == name
        texts = [each.target for each in load_examples(task, name).examples]
        assert len(texts) >= 40
        assert foreign_language(" ".join(texts), languages[-1]) is None


def test_there_is_no_sample_of_other_languages() -> None:
    assert bundled_sample(Task.TRANSLATION, ["pt", "en"]) is None


def test_a_serving_install_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(DatasetUnavailable, match=r"not installed here: pip install '\.\[compress\]'"):
        list(read_from_hub("cnn_dailymail", "test", samples=1))


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the datasets library")
def test_offline_mode_of_the_real_library_is_one_clear_line(tmp_path: Path) -> None:
    program = (
        "from slimseq.evaluation.datasets import DatasetUnavailable, load_examples\n"
        "from slimseq.models_store.manifest import Task\n"
        "try:\n"
        "    load_examples(Task.TRANSLATION, 'wmt14-de-en', samples=1)\n"
        "except DatasetUnavailable as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("wmt14-de-en cannot be read from wmt/wmt14 on the Hugging Face hub: ")
    assert done.stdout.count("\n") == 1
