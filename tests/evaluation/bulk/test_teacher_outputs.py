"""Outputs that were made before: they are found by artifact, options and text, and by nothing less."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from slimseq.evaluation.bulk.row_processor import RowProcessor
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.bulk.teacher_outputs import TeacherOutputs
from slimseq.evaluation.dataset_files import DatasetUnavailable, Example
from slimseq.inference.generator import TextGenerator

TEXTS = ["Good morning.", "The children are playing in the garden."]
EXAMPLES = [Example(text, "") for text in TEXTS]
SETTINGS = RowSettings(options={"num_beams": 2}, as_is=True)


def written(
    path: Path, generator: TextGenerator, settings: RowSettings, texts: Sequence[str] = TEXTS
) -> TeacherOutputs:
    rows = RowProcessor(generator, settings).process(texts)
    path.write_text("".join(json.dumps(row.fields()) + "\n" for row in rows))
    return TeacherOutputs(path)


def test_outputs_are_those_that_the_artifact_generates(translator: TextGenerator, tmp_path: Path) -> None:
    # Further texts and another order change nothing.
    file = written(tmp_path / "outputs.jsonl", translator, SETTINGS, ["It is late.", *reversed(TEXTS)])

    found = file.all_found(translator.manifest, {"num_beams": 2}, EXAMPLES)

    options = translator.manifest.generation.options(num_beams=2)
    assert found == translator.generate([translator.encode(text) for text in TEXTS], options)


def test_outputs_of_other_options_texts_or_artifacts_are_not_taken(translator: TextGenerator, tmp_path: Path) -> None:
    manifest, options = translator.manifest, {"num_beams": 2}
    file = written(tmp_path / "outputs.jsonl", translator, SETTINGS)
    with_text_handling = written(tmp_path / "service.jsonl", translator, RowSettings(options=options))
    other = manifest.model_copy(update={"digest": "sha256:" + "0" * 64})

    assert file.found(other, options, EXAMPLES) == [None, None]
    assert file.found(manifest, {"num_beams": 4}, EXAMPLES) == [None, None]
    assert file.found(manifest, options, [Example("Good evening.", "")]) == [None]
    assert file.found(manifest, options, [Example(TEXTS[0], "", prefix="x: ")]) == [None]
    assert with_text_handling.found(manifest, options, EXAMPLES) == [None, None]


def test_a_file_that_lacks_outputs_is_refused_with_the_command_that_makes_them(
    translator: TextGenerator, tmp_path: Path
) -> None:
    file = written(tmp_path / "outputs.jsonl", translator, SETTINGS, TEXTS[:1])

    command = "`slimseq generate translation quantized --as-is --num-beams 2`"
    with pytest.raises(DatasetUnavailable, match=f"outputs.jsonl lacks 1 of 2 outputs.*{command}"):
        file.all_found(translator.manifest, {"num_beams": 2}, EXAMPLES)


def test_rows_without_an_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "Good morning.", "output": "Guten Morgen."}\n')

    with pytest.raises(DatasetUnavailable, match=r"line 1 of rows.jsonl: it has no row_id"):
        TeacherOutputs(path)
