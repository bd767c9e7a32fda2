"""Sequence-level distillation: a teacher's outputs become targets, and are generated once."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.export.exporting import add_ctranslate2
from slimseq.compression.train import sequence_level as module
from slimseq.compression.train.data.training_data import Material
from slimseq.compression.train.sequence_level import learning_from_outputs, teacher_outputs
from slimseq.compression.train.training_options import CACHE, SequenceLevel
from slimseq.evaluation.bulk.row_processor import RowProcessor
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.evaluation.dataset_files import DatasetUnavailable, Example
from slimseq.inference.generator import TextGenerator, TextOutput, open_generator
from slimseq.inference.tokenizer import Encoding
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import EXAMPLES, tiny_set, tiny_store, tiny_tokenizer
from tests.families import Family

TASK = Task.TRANSLATION


def test_another_variant_than_the_parent_can_be_the_teacher(tmp_path: Path) -> None:
    context = tiny_store(tmp_path, Family.T5)
    examples = tiny_set(tiny_tokenizer(Family.T5, tmp_path / "tokenizer"))
    given, outputs = Material(examples, examples.first(1), None), tmp_path / "outputs"
    options = SequenceLevel(sequence_level="replace", sequence_beams=4, sequence_teacher="original")

    learned = learning_from_outputs(context, TASK, "small", given, options, outputs)

    assert learned.train.examples == teacher_outputs(context, TASK, "original", EXAMPLES, outputs, 4)
    # No teacher is needed if it is off.
    assert learning_from_outputs(context, TASK, "missing", given, SequenceLevel(), outputs) is given


SOME = [*EXAMPLES[:5], EXAMPLES[0], replace(EXAMPLES[1], prefix="repeat: ")]


def expected(context: Context, example: Example, beams: int) -> str:
    if not context.store.has_format(TASK, "original", "ctranslate2"):
        add_ctranslate2(context, TASK, "original", "int8")
    with open_generator(context.store, TASK, "original", "ctranslate2") as generator:
        options = generator.manifest.generation.options(num_beams=beams)
        return generator.generate([generator.encode(example.source, example.prefix)], options)[0].text


def test_teacher_outputs_become_the_targets(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)

    outputs = teacher_outputs(context, TASK, "original", SOME, tmp_path / "cache", beams=2)

    assert [(each.source, each.prefix) for each in outputs] == [(each.source, each.prefix) for each in SOME]
    assert [each.target for each in outputs] == [expected(context, each, beams=2) for each in SOME]


def test_outputs_are_generated_once_and_an_incomplete_last_line_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, cache = tiny_store(tmp_path), tmp_path / "cache"
    monkeypatch.setattr(module, "BATCH_EXAMPLES", 2)
    asked: list[int] = []
    generate = TextGenerator.generate

    def counted(self: TextGenerator, inputs: Sequence[Encoding], options: GenerationOptions) -> list[TextOutput]:
        asked.append(len(inputs))
        return generate(self, inputs, options)

    monkeypatch.setattr(TextGenerator, "generate", counted)
    whole = teacher_outputs(context, TASK, "original", SOME, cache, beams=1)
    lines = (cache / CACHE).read_text(encoding="utf-8").splitlines(keepends=True)
    (cache / CACHE).write_text("".join(lines[:4]) + lines[4][:30], encoding="utf-8")
    asked_first = list(asked)
    asked.clear()

    again = teacher_outputs(context, TASK, "original", SOME, cache, beams=1)
    entries = [json.loads(line) for line in (cache / CACHE).read_text(encoding="utf-8").splitlines()]

    assert asked_first == [2, 2, 2]
    assert asked == [2]
    assert again == whole
    assert len({entry["key"] for entry in entries}) == 6
    assert len(entries) == 6


def test_outputs_that_were_made_elsewhere_become_the_targets_and_nothing_is_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, examples = tiny_store(tmp_path), EXAMPLES[:3]
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    settings = RowSettings(options={"num_beams": 2}, as_is=True)
    with open_generator(context.store, Task.TRANSLATION, "original", "torch") as teacher:
        rows = RowProcessor(teacher, settings).process([example.source for example in examples])
    file = tmp_path / "outputs.jsonl"
    file.write_text("".join(json.dumps(row.fields()) + "\n" for row in rows))
    train = tiny_set(tokenizer)
    material = Material(train.with_examples(examples), train.first(1), None)
    monkeypatch.setattr(module, "_fastest_generator", None)

    options = SequenceLevel(sequence_level="replace", sequence_beams=2)
    learned = learning_from_outputs(context, Task.TRANSLATION, "original", material, options, None, file)

    written = [row.output for row in rows if row.output and row.output.strip()]
    assert [example.target for example in learned.train.examples] == written
    other = replace(options, sequence_beams=3)
    with pytest.raises(DatasetUnavailable, match=r"outputs\.jsonl lacks 3 of 3 outputs"):
        learning_from_outputs(context, Task.TRANSLATION, "original", material, other, None, file)
    with pytest.raises(BadParameters, match="no effect without `sequence_level`"):
        learning_from_outputs(context, Task.TRANSLATION, "original", material, SequenceLevel(), None, file)


def test_other_settings_give_other_outputs(tmp_path: Path) -> None:
    context, cache = tiny_store(tmp_path), tmp_path / "cache"

    for beams in (1, 3, 1):
        teacher_outputs(context, TASK, "original", SOME[:2], cache, beams)

    assert len((cache / CACHE).read_text(encoding="utf-8").splitlines()) == 4
    for beams in (0, 17):
        with pytest.raises(BadParameters, match="1 to 16"):
            teacher_outputs(context, TASK, "original", SOME, cache, beams)


def test_a_number_of_beams_that_no_teacher_has_is_refused_in_one_line(tmp_path: Path) -> None:
    context = tiny_store(tmp_path)
    examples = tiny_set(tiny_tokenizer(Family.T5, tmp_path / "tokenizer"))
    options = SequenceLevel(sequence_level="replace", sequence_beams=99)

    for made_before in (None, tmp_path / "outputs.jsonl"):
        with pytest.raises(BadParameters, match="the teacher cannot search with 99 beams"):
            learning_from_outputs(
                context, TASK, "original", Material(examples, examples, None), options, tmp_path, made_before
            )
