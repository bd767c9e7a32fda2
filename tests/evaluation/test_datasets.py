import gzip
from pathlib import Path

import pytest

from slimseq.evaluation.datasets import DatasetUnavailable, Example, dataset_names, load_examples
from slimseq.models_store.manifest import Task

PAIRS = '{"source": "Good morning.", "target": "Guten Morgen."}\n{"source": "Thanks.", "target": "Danke."}\n'


@pytest.mark.parametrize(("task", "examples"), [(Task.SUMMARIZATION, 40), (Task.TRANSLATION, 80)])
def test_the_bundled_sample_needs_no_file_and_no_network(task: Task, examples: int) -> None:
    sample = load_examples(task, "sample")

    assert (sample.name, sample.split) == ("sample", "test")
    assert len(sample.examples) >= examples
    assert len({example.source for example in sample.examples}) == len(sample.examples)


def test_the_bundled_sample_has_no_other_split() -> None:
    with pytest.raises(DatasetUnavailable, match="only the split 'test', not 'dev'"):
        load_examples(Task.TRANSLATION, "sample", split="dev")


def test_a_file_is_named_without_its_endings_and_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "dev.tatoeba.jsonl.gz"
    path.write_bytes(gzip.compress(PAIRS.encode()))

    sample = load_examples(Task.TRANSLATION, str(path))

    assert (sample.name, sample.split) == ("dev.tatoeba", "dev")
    assert sample.examples == (Example("Good morning.", "Guten Morgen."), Example("Thanks.", "Danke."))


def test_a_file_that_names_no_split_has_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "letters.2024.jsonl"
    path.write_text(PAIRS, encoding="utf-8")

    sample = load_examples(Task.TRANSLATION, str(path), split="validation")

    assert (sample.name, sample.split) == ("letters.2024", "validation")


def test_only_the_first_samples_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(PAIRS + "this is not read\n", encoding="utf-8")

    sample = load_examples(Task.TRANSLATION, str(path), samples=1)

    assert sample.examples == (Example("Good morning.", "Guten Morgen."),)


def test_a_tab_separated_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deu.tsv"
    path.write_text("Hi.\tHallo.\tCC-BY 2.0\n", encoding="utf-8")

    assert load_examples(Task.TRANSLATION, str(path)).examples == (Example("Hi.", "Hallo."),)


def test_parallel_text_is_given_as_two_files(tmp_path: Path) -> None:
    (tmp_path / "test.news.en").write_text("Hi.\nThanks.\n", encoding="utf-8")
    (tmp_path / "test.news.de").write_text("Hallo.\nDanke.\n", encoding="utf-8")

    sample = load_examples(Task.TRANSLATION, f"{tmp_path}/test.news.en:{tmp_path}/test.news.de")

    assert (sample.name, sample.split) == ("test.news", "test")
    assert sample.examples == (Example("Hi.", "Hallo."), Example("Thanks.", "Danke."))


def test_what_is_neither_a_name_nor_a_data_file_is_refused_with_what_there_is() -> None:
    with pytest.raises(DatasetUnavailable, match=r"no data set 'wmt99': name one of sample, wmt14-de-en, a file"):
        load_examples(Task.TRANSLATION, "wmt99")


def test_a_data_set_of_another_task_is_refused() -> None:
    with pytest.raises(DatasetUnavailable, match="cnn_dailymail is for summarization; for translation there is sample"):
        load_examples(Task.TRANSLATION, "cnn_dailymail")


def test_a_file_without_examples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text("\n\n", encoding="utf-8")

    with pytest.raises(DatasetUnavailable, match="has no examples"):
        load_examples(Task.TRANSLATION, str(path))


def test_no_samples_are_refused() -> None:
    with pytest.raises(DatasetUnavailable, match="at least 1"):
        load_examples(Task.TRANSLATION, "sample", samples=0)


def test_each_task_has_the_sample_and_one_public_test_set() -> None:
    assert dataset_names(Task.SUMMARIZATION) == ("sample", "cnn_dailymail")
    assert dataset_names(Task.TRANSLATION) == ("sample", "wmt14-de-en")
