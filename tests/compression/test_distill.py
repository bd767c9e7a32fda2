import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from slimseq.compression.artifacts.publish import write_model
from slimseq.compression.distill import DistillOptions, distill, kept_layers
from slimseq.compression.errors import BadParameters
from slimseq.compression.models import architecture_of_model, load_model
from slimseq.compression.prune.layers import evenly_spaced, keep_layers
from slimseq.compression.technique import Job
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.compression.train.options import SequenceLevel
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.trainer import TrainingOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file, tiny_model, tiny_tokenizer
from tests.families import Family

IDS = torch.tensor([[5, 9, 17, 30, 8, 1]])


@pytest.mark.parametrize(
    ("teacher", "keep", "layers"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 3, [0, 6, 11]),
        (6, 2, [0, 5]),
        (4, 3, [0, 2, 3]),
        (4, 4, [0, 1, 2, 3]),
        (4, 1, [0]),
    ],
)
def test_layers_are_evenly_spaced_with_the_first_and_the_last(teacher: int, keep: int, layers: list[int]) -> None:
    assert evenly_spaced(teacher, keep) == layers


@pytest.mark.parametrize("keep", [0, 5])
def test_a_student_cannot_have_more_layers_than_its_teacher_or_none(tmp_path: Path, keep: int) -> None:
    parts = architecture_of_model(tiny_model(Family.T5, tiny_tokenizer(Family.T5, tmp_path), decoder_layers=4))

    with pytest.raises(BadParameters, match="of 4 decoder layers"):
        kept_layers(parts, DistillOptions(decoder_layers=keep))


@pytest.mark.parametrize("family", list(Family))
def test_by_default_the_encoder_and_half_of_the_decoder_stay(tmp_path: Path, family: Family) -> None:
    model = tiny_model(family, tiny_tokenizer(family, tmp_path), encoder_layers=3, decoder_layers=4)
    parts = architecture_of_model(model)

    assert kept_layers(parts, DistillOptions()) == {"encoder": [0, 1, 2], "decoder": [0, 3]}
    assert kept_layers(parts, DistillOptions(2, 3)) == {"encoder": [0, 2], "decoder": [0, 2, 3]}


def test_layers_can_be_named(tmp_path: Path) -> None:
    parts = architecture_of_model(
        tiny_model(Family.T5, tiny_tokenizer(Family.T5, tmp_path), encoder_layers=3, decoder_layers=4)
    )

    kept = kept_layers(parts, DistillOptions(encoder_layers_kept=("1", "2"), decoder_layers_kept=("3",)))

    assert kept == {"encoder": [1, 2], "decoder": [3]}
    for wrong in (("4",), ("2", "1"), ("1", "1"), ("first",)):
        with pytest.raises(BadParameters, match="name some of 0 to 3 in their order"):
            kept_layers(parts, DistillOptions(decoder_layers_kept=wrong))


@pytest.mark.parametrize(
    "wrong",
    [{"sequence": SequenceLevel(sequence_share=0.0)}, {"decoder_layers": 1, "decoder_layers_kept": ("0",)}],
)
def test_options_that_contradict_each_other_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadParameters):
        DistillOptions(**wrong).check()


@pytest.mark.parametrize("family", list(Family))
def test_a_student_has_layers_of_its_teacher_and_loads_from_its_folder(tmp_path: Path, family: Family) -> None:
    teacher = tiny_model(family, tiny_tokenizer(family, tmp_path / "tokenizer"), encoder_layers=3, decoder_layers=4)

    student = keep_layers(teacher, {"encoder": [0, 2], "decoder": [0, 1, 3]})
    write_model(student, tmp_path / "student")
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student")
    parts = architecture_of_model(loaded)

    assert (len(parts.encoder.layers), len(parts.decoder.layers)) == (2, 3)
    for stack, kept in (("encoder", [0, 2]), ("decoder", [0, 1, 3])):
        ours, theirs = (
            getattr(architecture_of_model(student), stack).layers,
            getattr(architecture_of_model(teacher), stack).layers,
        )
        for new, old in enumerate(kept):
            new_name, old_name = ours[new].feed_forward.down, theirs[old].feed_forward.down
            assert torch.equal(student.get_parameter(f"{new_name}.weight"), teacher.get_parameter(f"{old_name}.weight"))


@pytest.mark.parametrize("family", list(Family))
def test_a_student_with_all_layers_computes_what_its_teacher_does(tmp_path: Path, family: Family) -> None:
    teacher = tiny_model(family, tiny_tokenizer(family, tmp_path))

    student = keep_layers(teacher, {"encoder": [0, 1], "decoder": [0, 1]})

    assert torch.equal(
        student(input_ids=IDS, decoder_input_ids=IDS).logits, teacher(input_ids=IDS, decoder_input_ids=IDS).logits
    )


def test_t5s_position_bias_goes_to_the_students_first_block(tmp_path: Path) -> None:
    teacher = tiny_model(Family.T5, tiny_tokenizer(Family.T5, tmp_path))
    bias = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"

    student = keep_layers(teacher, {"encoder": [0, 1], "decoder": [1]})

    assert torch.equal(student.get_parameter(bias), teacher.get_parameter(bias))


@pytest.mark.parametrize("family", list(Family))
def test_distilling_an_artifact_publishes_a_student_with_its_lineage(tmp_path: Path, family: Family) -> None:
    context = tiny_context(tmp_path)
    parent = tiny_artifact(context, family, tmp_path)
    training = TrainingOptions(bounds=Bounds(max_steps=6), tokens_per_batch=200, dropout=0.0, temperature=2.0)

    outcome = distill(
        Job(context, Task.TRANSLATION, "original", "distilled", DataFiles([tiny_file(tmp_path)])),
        DistillOptions(decoder_layers=1),
        training,
    )
    step = outcome.manifest.lineage[-1]
    student = load_model(context.store.folder(Task.TRANSLATION, "distilled"))

    assert (step.technique, step.parent) == ("distill", parent.digest)
    assert step.parameters["kept_layers"] == {"encoder": [0, 1], "decoder": [0]}
    assert (step.parameters["temperature"], step.parameters["steps"]) == (2.0, 6)
    assert len(architecture_of_model(student).decoder.layers) == 1
    assert outcome.summary()["training"]["steps"] == 6


@pytest.mark.parametrize("sequence_level", ["replace", "add"])
def test_teacher_outputs_replace_written_targets_or_are_added(
    tmp_path: Path, sequence_level: Literal["replace", "add"]
) -> None:
    context = tiny_context(tmp_path, seed=4)
    tiny_artifact(context, Family.T5, tmp_path)
    sequence = SequenceLevel(sequence_level=sequence_level, sequence_beams=4, sequence_share=0.5)
    options = DistillOptions(decoder_layers=1, sequence=sequence)
    training = TrainingOptions(
        bounds=Bounds(max_steps=2), tokens_per_batch=200, dropout=0.0, alpha=0.5, hidden_states=1.0, attention=1.0
    )
    files, run, cache = DataFiles([tiny_file(tmp_path)]), tmp_path / "run", tmp_path / "cache"

    outcome = distill(
        Job(context, Task.TRANSLATION, "original", "distilled", files, checkpoint=run, outputs=cache), options, training
    )
    outputs = [json.loads(line)["text"] for line in (cache / "teacher_outputs.jsonl").read_text("utf-8").splitlines()]
    # A teacher that knows nothing ends some texts at once; those are no targets.
    usable = sum(bool(text) for text in outputs)
    identity = json.loads((run / "checkpoint" / "state.json").read_text(encoding="utf-8"))["identity"]
    entry = json.loads((run / "losses.jsonl").read_text(encoding="utf-8").splitlines()[0])
    parameters = outcome.manifest.lineage[-1].parameters

    assert 0 < usable <= len(outputs) < 20
    assert identity["pairs"] == 20 + usable - (len(outputs) if sequence_level == "replace" else 0)
    assert entry.keys() >= {"labels", "teacher", "hidden", "attention"}
    assert (parameters["sequence_level"], parameters["hidden_states"]) == (sequence_level, 1.0)
