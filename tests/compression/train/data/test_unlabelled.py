"""Unlabelled texts: how they are split, warned about, given targets by a teacher, weighted and recorded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.distill import DistillOptions, distill
from slimseq.compression.errors import BadData, BadParameters
from slimseq.compression.technique import Job
from slimseq.compression.train.data.mixture import Mixture
from slimseq.compression.train.data.training_data import (
    DataFiles,
    Material,
    read_material,
    read_unlabelled,
    warn_of_languages,
)
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.sequence_level import learning_from_outputs, teacher_outputs
from slimseq.compression.train.training_options import SequenceLevel, TrainingOptions
from slimseq.compression.train_base import BaseOptions, train_base
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Task
from tests.compression.tiny import ARCHITECTURE, EXAMPLES, LIMITS, tiny_context, tiny_file, tiny_store, tiny_tokenizer
from tests.families import Family

DOCUMENT = "The lamp is broken again. Nobody knows why! and no sentence Nobody answered the old telephone."


def rows(folder: Path, *objects: dict[str, str], name: str = "news.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in objects), encoding="utf-8")
    return str(path)


def test_documents_are_cut_into_whole_sentences_each_once(tmp_path: Path) -> None:
    news = rows(
        tmp_path,
        {"document": "The lamp is broken again. Too short. Nobody answered the old telephone.", "origin": "paper"},
        {"text": "Nobody answered the old telephone. ROW ONE 3 4 5"},
    )

    found = read_unlabelled(Task.TRANSLATION, [news])

    assert [(example.source, example.target, example.origin) for example in found] == [
        ("The lamp is broken again.", "", "unlabelled-paper"),
        ("Nobody answered the old telephone.", "", "unlabelled-paper"),
    ]


def test_text_files_hold_one_text_a_line_and_summaries_need_it_whole(tmp_path: Path) -> None:
    (tmp_path / "news.txt").write_text(f"{DOCUMENT}\n\n", encoding="utf-8")

    found = read_unlabelled(Task.SUMMARIZATION, [str(tmp_path / "news.txt")])

    assert [(example.source, example.origin) for example in found] == [(DOCUMENT, "unlabelled")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"summary": "No source."}, "line 1 of news.jsonl has none of document, article, source, text"),
        ({"text": " "}, "line 1 of news.jsonl: `text` is empty"),
        ({"text": "Too short."}, "holds no new text"),
    ],
)
def test_a_file_without_anything_to_learn_from_is_refused(tmp_path: Path, row: dict[str, str], said: str) -> None:
    with pytest.raises(BadData, match=said):
        read_unlabelled(Task.TRANSLATION, [rows(tmp_path, row)])


TASK = Task.TRANSLATION


@pytest.fixture
def files(tmp_path: Path) -> DataFiles:
    news = rows(tmp_path, {"text": "The lamp is broken again. The soup is on the table.", "origin": "paper"})
    return DataFiles([tiny_file(tmp_path)], unlabelled=[news])


def material_of(files: DataFiles, folder: Path) -> Material:
    tokenizer = Tokenizer(tiny_tokenizer(Family.T5, folder / "tokenizer"))
    return read_material(tiny_context(folder), TASK, files, tokenizer, "", LIMITS)


@pytest.mark.parametrize(("languages", "sides"), [(["en", "de"], []), (["de", "en"], ["sources", "targets"]), ([], [])])
def test_data_in_other_languages_is_warned_about(
    files: DataFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], languages: list[str], sides: list[str]
) -> None:
    warn_of_languages(tiny_context(tmp_path), material_of(files, tmp_path), languages)

    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == sides
    assert all("seem to be in" in line for line in lines)


def test_a_teacher_writes_the_missing_targets(files: DataFiles, tmp_path: Path) -> None:
    context, material = tiny_store(tmp_path, Family.T5), material_of(files, tmp_path)
    options = SequenceLevel(sequence_level="add", sequence_beams=1)

    learned = learning_from_outputs(context, TASK, "original", material, options, tmp_path)

    sources = [*EXAMPLES, *read_unlabelled(TASK, files.unlabelled)]
    assert learned.train.examples == [*EXAMPLES, *teacher_outputs(context, TASK, "original", sources, tmp_path, 1)]
    with pytest.raises(BadParameters, match="let a teacher write them"):
        learning_from_outputs(context, TASK, "small", material, SequenceLevel(), tmp_path)


def test_a_mixture_weighs_them_by_their_origin(files: DataFiles, tmp_path: Path) -> None:
    mixed = replace(files, mixture=Mixture(weights={"unlabelled-paper": 3}))

    assert len(material_of(mixed, tmp_path).train) == len(EXAMPLES) + 2 * 3


def test_a_base_is_trained_on_labelled_data_only(files: DataFiles, tmp_path: Path) -> None:
    job = Job(tiny_context(tmp_path), TASK, "", "original", files)

    with pytest.raises(BadParameters, match="no teacher"):
        train_base(job, BaseOptions(), ARCHITECTURE, TrainingOptions(bounds=Bounds(max_steps=1)))


def test_the_training_data_is_recorded(files: DataFiles, tmp_path: Path) -> None:
    sequence = SequenceLevel(sequence_level="replace", sequence_beams=4)

    outcome = distill(
        Job(tiny_store(tmp_path, Family.T5), TASK, "original", "small", files),
        DistillOptions(decoder_layers=1, sequence=sequence),
        TrainingOptions(bounds=Bounds(max_steps=1)),
    )

    assert outcome.manifest.lineage[-1].parameters["unlabelled"] == ["news.jsonl"]
