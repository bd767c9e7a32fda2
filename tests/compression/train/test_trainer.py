import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slimseq.compression.errors import BadParameters, TrainingDiverged
from slimseq.compression.train.checkpoint import CURRENT, PREVIOUS, WRITING
from slimseq.compression.train.data.pairs import TokenPair, TrainingSet
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.trainer import TrainingOptions, train
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.tiny import EXAMPLES, LIMITS, PREFIX, tiny_context, tiny_model, tiny_set, tiny_tokenizer
from tests.families import Family

STEPS = 12
OPTIONS = TrainingOptions(
    bounds=Bounds(max_steps=STEPS), learning_rate=3e-3, tokens_per_batch=200, precision="fp32", dropout=0.1
)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]


class InterruptedSet(TrainingSet):
    """Raises a signal while the pairs of some epoch are read, as Ctrl-C in the middle of a step would."""

    def __init__(self, folder: Path, number: int, after_reads: int) -> None:
        super().__init__(EXAMPLES, Tokenizer(folder), PREFIX, LIMITS)
        self._number = number
        self._left = after_reads

    def __getitem__(self, index: int) -> TokenPair:
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(self._number)
        return super().__getitem__(index)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_with_the_same_losses(tmp_path: Path, family: Family, number: int) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path / "tokenizer")
    context = tiny_context(tmp_path)
    whole, resumed = tiny_model(family, tokenizer), tiny_model(family, tokenizer)
    train(whole, tiny_set(tokenizer), OPTIONS, context, checkpoint_folder=tmp_path / "whole")

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(
            tiny_model(family, tokenizer),
            InterruptedSet(tokenizer, number, after_reads=len(EXAMPLES) + 1),
            OPTIONS,
            context,
            checkpoint_folder=tmp_path / "parts",
        )
    before = len(losses(tmp_path / "parts"))
    report = train(resumed, tiny_set(tokenizer), OPTIONS, context, checkpoint_folder=tmp_path / "parts")

    assert 0 < before < STEPS
    assert report.resumed_from == before
    assert report.steps == STEPS
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for (name, expected), found in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found), name


def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    context, folder = tiny_context(tmp_path), tmp_path / "run"
    short = replace(OPTIONS, bounds=Bounds(max_steps=3))
    train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), short, context, checkpoint_folder=folder)
    (folder / CURRENT).rename(folder / PREVIOUS)
    (folder / WRITING).mkdir()
    (folder / WRITING / "model.safetensors").write_bytes(b"half")

    report = train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), OPTIONS, context, checkpoint_folder=folder)

    assert report.resumed_from == 3


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    context, folder = tiny_context(tmp_path), tmp_path / "run"
    short = replace(OPTIONS, bounds=Bounds(max_steps=2))
    train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), short, context, checkpoint_folder=folder)

    with pytest.raises(BadParameters, match=r"learning_rate 0.003, now 0.001"):
        train(
            tiny_model(Family.T5, tokenizer),
            tiny_set(tokenizer),
            replace(OPTIONS, learning_rate=1e-3),
            context,
            checkpoint_folder=folder,
        )


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    context, folder = tiny_context(tmp_path), tmp_path / "run"
    short = replace(OPTIONS, bounds=Bounds(max_steps=2))
    train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), short, context, checkpoint_folder=folder)
    (folder / CURRENT / "optimizer.safetensors").write_bytes(b"broken")

    with pytest.raises(BadParameters, match="remove it to start anew"):
        train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), OPTIONS, context, checkpoint_folder=folder)


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path / "tokenizer")
    options = replace(OPTIONS, bounds=Bounds(max_steps=3), checkpoint_steps=1)

    train(
        tiny_model(Family.BART, tokenizer),
        tiny_set(tokenizer),
        options,
        tiny_context(tmp_path),
        checkpoint_folder=tmp_path / "run",
    )

    assert {path.name for path in (tmp_path / "run").iterdir()} == {CURRENT, "losses.jsonl"}
    assert {path.suffix for path in (tmp_path / "run" / CURRENT).iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("family", list(Family))
def test_bf16_training_lowers_the_loss_and_leaves_fp32_weights(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    model, dataset = tiny_model(family, tokenizer), tiny_set(tokenizer)
    options = replace(OPTIONS, bounds=Bounds(epochs=30), precision="bf16", accumulation=2, dropout=0.0)

    report = train(model, dataset, options, tiny_context(tmp_path), dev=dataset)

    assert report.dev_loss_before is not None and report.dev_loss_after is not None
    assert report.dev_loss_after < report.dev_loss_before - 0.5
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def test_seconds_end_a_run(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    options = replace(OPTIONS, bounds=Bounds(max_seconds=0.5))

    report = train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), options, tiny_context(tmp_path))

    assert report.steps > 0
    assert report.seconds >= 0.5


def test_a_bound_of_zero_trains_nothing(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    options = replace(OPTIONS, bounds=Bounds(max_steps=0))

    report = train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), options, tiny_context(tmp_path))

    assert (report.steps, report.first_loss, report.last_loss) == (0, None, None)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer)
    torch.nn.init.constant_(model.get_parameter("shared.weight"), float("nan"))

    with pytest.raises(TrainingDiverged, match="step 1"):
        train(model, tiny_set(tokenizer), OPTIONS, tiny_context(tmp_path))


@pytest.mark.parametrize("family", list(Family))
def test_a_student_learns_from_its_teacher(tmp_path: Path, family: Family) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path)
    dataset, context = tiny_set(tokenizer), tiny_context(tmp_path)
    teacher, student = tiny_model(family, tokenizer, seed=1), tiny_model(family, tokenizer, seed=2)
    options = replace(OPTIONS, bounds=Bounds(max_steps=40), alpha=1.0, dropout=0.0)

    report = train(student, dataset, options, context, teacher=teacher)

    assert report.first_loss is not None and report.last_loss is not None
    assert report.last_loss < report.first_loss


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path)
    teacher = tiny_model(Family.BART, tokenizer)
    teacher.resize_token_embeddings(128)

    with pytest.raises(BadParameters, match="128 tokens"):
        train(tiny_model(Family.BART, tokenizer), tiny_set(tokenizer), OPTIONS, tiny_context(tmp_path), teacher=teacher)


def test_a_run_with_every_loss_is_resumed_with_its_projection(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    dataset, context = tiny_set(tokenizer), tiny_context(tmp_path)
    teacher = tiny_model(Family.T5, tokenizer, seed=1)
    options = replace(OPTIONS, hidden_states=1.0, attention=1.0, guided_alignment=0.2, copy_warmup_steps=4)

    def run(folder: str, steps: int) -> None:
        student = tiny_model(Family.T5, tokenizer, seed=2, width=24, heads=2)
        bounded = replace(options, bounds=Bounds(max_steps=steps), decay_fraction=0.0)
        train(student, dataset, bounded, context, teacher=teacher, checkpoint_folder=tmp_path / folder)

    run("whole", 9)
    for steps in (3, 6, 9):
        run("parts", steps)

    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_a_run_begins_with_copying_and_logs_the_parts_of_its_losses(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    options = replace(OPTIONS, bounds=Bounds(max_steps=5), copy_warmup_steps=3, guided_alignment=0.2)

    train(
        tiny_model(Family.T5, tokenizer),
        tiny_set(tokenizer),
        options,
        tiny_context(tmp_path),
        checkpoint_folder=tmp_path / "run",
    )
    entries = [json.loads(line) for line in (tmp_path / "run" / "losses.jsonl").read_text().splitlines()]

    assert [entry.get("window") for entry in entries] == [6, 6, 6, None, None]
    assert all(entry["loss"] == pytest.approx(entry["labels"] + 0.5 * entry["guided"]) for entry in entries[:3])
    assert all(entry["loss"] == pytest.approx(entry["labels"] + 0.2 * entry["guided"]) for entry in entries[3:])


def test_a_checkpoint_of_other_texts_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    context, folder = tiny_context(tmp_path), tmp_path / "run"
    short = replace(OPTIONS, bounds=Bounds(max_steps=2))
    train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), short, context, checkpoint_folder=folder)
    others = [replace(example, target=example.source) for example in EXAMPLES]
    dataset = TrainingSet(others, Tokenizer(tokenizer), PREFIX, LIMITS)

    with pytest.raises(BadParameters, match="data '"):
        train(tiny_model(Family.T5, tokenizer), dataset, OPTIONS, context, checkpoint_folder=folder)


@pytest.mark.parametrize(
    "wrong", [{"bounds": Bounds()}, {"learning_rate": 0.0}, {"temperature": 0.0}, {"alpha": 2.0}, {"dropout": 1.0}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadParameters):
        replace(OPTIONS, **wrong).check()
