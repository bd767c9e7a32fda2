"""The training loop: resumption, checkpoints, dev data, signals, and losses that diverge."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from slimseq.compression.errors import BadParameters, TrainingDiverged
from slimseq.compression.train.data.training_data import TokenPair, TrainingSet
from slimseq.compression.train.loss import dev_loss
from slimseq.compression.train.schedule import Bounds
from slimseq.compression.train.trainer import TrainingPaused, train
from slimseq.compression.train.training_options import TrainingOptions
from slimseq.compression.train.training_report import TrainingReport
from slimseq.compression.train.unfinished import CURRENT, PREVIOUS, WRITING
from slimseq.evaluation.dataset_files import Example
from slimseq.inference.tokenizer import Tokenizer
from tests.compression.tiny import (
    EXAMPLES,
    HELD_OUT,
    LIMITS,
    PREFIX,
    tiny_context,
    tiny_model,
    tiny_set,
    tiny_tokenizer,
)
from tests.families import Family

STEPS = 12
OPTIONS = TrainingOptions(
    bounds=Bounds(max_steps=STEPS), learning_rate=3e-3, tokens_per_batch=200, precision="fp32", dropout=0.1
)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]


def trained(folder: Path, options: TrainingOptions = OPTIONS, dataset: TrainingSet | None = None) -> TrainingReport:
    """Trains a random T5 with checkpoints in a folder."""
    tokenizer = tiny_tokenizer(Family.T5, folder / "tokenizer")
    model, pairs = tiny_model(Family.T5, tokenizer), dataset or tiny_set(tokenizer)
    return train(model, pairs, options, tiny_context(folder), checkpoint_folder=folder / "run")


def steps(count: int, **changes: Any) -> TrainingOptions:
    return replace(OPTIONS, bounds=Bounds(max_steps=count), **changes)


class InterruptedSet(TrainingSet):
    """Raises a signal when the pairs have been read `after_reads` times, as Ctrl-C in the middle of a step would."""

    def __init__(self, folder: Path, number: int, after_reads: int) -> None:
        super().__init__(EXAMPLES, Tokenizer(folder), PREFIX, LIMITS)
        self._number = number
        self._left = after_reads

    def __getitem__(self, index: int) -> TokenPair:
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(self._number)
        return super().__getitem__(index)


@pytest.mark.parametrize(("family", "number"), [(Family.T5, signal.SIGINT), (Family.BART, signal.SIGTERM)])
def test_an_interrupted_run_resumes_with_the_same_losses(tmp_path: Path, family: Family, number: int) -> None:
    tokenizer = tiny_tokenizer(family, tmp_path / "tokenizer")
    context = tiny_context(tmp_path)
    whole = tiny_model(family, tokenizer)
    resumed = tiny_model(family, tokenizer)
    train(whole, tiny_set(tokenizer), OPTIONS, context, checkpoint_folder=tmp_path / "whole")

    # The signal arrives in the second step.
    interrupted = InterruptedSet(tokenizer, number, after_reads=len(EXAMPLES) + 1)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(tiny_model(family, tokenizer), interrupted, OPTIONS, context, checkpoint_folder=tmp_path / "parts")
    before = len(losses(tmp_path / "parts"))
    report = train(resumed, tiny_set(tokenizer), OPTIONS, context, checkpoint_folder=tmp_path / "parts")

    assert 0 < before < STEPS
    assert report.resumed_from == before
    assert report.steps == STEPS
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert_same_weights(resumed, whole)


def assert_same_weights(model: Any, expected: Any) -> None:
    for (name, wanted), found in zip(expected.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(wanted, found), name


def test_a_run_with_pauses_whose_end_is_chosen_later_has_the_weights_of_one_without(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    context, dataset = tiny_context(tmp_path), tiny_set(tokenizer)
    dev = dataset.with_examples([Example(*pair) for pair in HELD_OUT])
    whole, paused = tiny_model(Family.T5, tokenizer), tiny_model(Family.T5, tokenizer)

    def run(model: Any, name: str, count: int, pause_at: int | None = None) -> TrainingReport:
        options, folder = steps(count, warmup_steps=4), tmp_path / name
        return train(model, dataset, options, context, checkpoint_folder=folder, dev=dev, pause_at=pause_at)

    expected = run(whole, "whole", 40)
    with pytest.raises(TrainingPaused, match="step 6") as first:
        run(tiny_model(Family.T5, tokenizer), "parts", 10_000, pause_at=6)
    with pytest.raises(TrainingPaused) as second:
        run(tiny_model(Family.T5, tokenizer), "parts", 60, pause_at=28)
    report = run(paused, "parts", 40)

    assert (first.value.steps, second.value.steps, report.steps, report.resumed_from) == (6, 28, 40, 28)
    assert first.value.dev_loss is not None
    assert second.value.dev_loss is not None
    assert second.value.dev_loss < first.value.dev_loss
    assert 0 < first.value.seconds < second.value.seconds
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert (report.kept_step, report.dev_loss_after) == (expected.kept_step, expected.dev_loss_after)
    assert_same_weights(paused, whole)


def test_a_pause_behind_the_checkpoint_pauses_at_once_and_one_behind_the_end_never(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    context, dataset, folder = tiny_context(tmp_path), tiny_set(tokenizer), tmp_path / "run"

    for pause_at in (4, 3):
        with pytest.raises(TrainingPaused, match="step 4"):
            train(
                tiny_model(Family.T5, tokenizer), dataset, OPTIONS, context, checkpoint_folder=folder, pause_at=pause_at
            )
    report = train(tiny_model(Family.T5, tokenizer), dataset, OPTIONS, context, checkpoint_folder=folder, pause_at=99)

    assert report.steps == STEPS


def test_a_pause_without_a_place_for_a_checkpoint_is_refused_before_any_step(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")

    with pytest.raises(BadParameters, match="only where it can write a checkpoint"):
        train(tiny_model(Family.T5, tokenizer), tiny_set(tokenizer), OPTIONS, tiny_context(tmp_path), pause_at=2)


def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    trained(tmp_path, steps(3))
    (folder / CURRENT).rename(folder / PREVIOUS)
    (folder / WRITING).mkdir()
    (folder / WRITING / "model.safetensors").write_bytes(b"half")

    assert trained(tmp_path).resumed_from == 3


def test_a_checkpoint_of_other_options_says_which_differ(tmp_path: Path) -> None:
    trained(tmp_path, steps(2))

    with pytest.raises(BadParameters, match=r"learning_rate 0.003, now 0.001"):
        trained(tmp_path, replace(OPTIONS, learning_rate=1e-3))


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, steps(2))
    others = [replace(example, target=example.source) for example in EXAMPLES]
    dataset = TrainingSet(others, Tokenizer(tmp_path / "tokenizer"), PREFIX, LIMITS)

    with pytest.raises(BadParameters, match="data '"):
        trained(tmp_path, dataset=dataset)


def test_a_broken_checkpoint_says_what_to_do(tmp_path: Path) -> None:
    trained(tmp_path, steps(2))
    (tmp_path / "run" / CURRENT / "optimizer.safetensors").write_bytes(b"broken")

    with pytest.raises(BadParameters, match="remove it to start anew"):
        trained(tmp_path)


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    trained(tmp_path, steps(3, checkpoint_seconds=0))

    assert {path.name for path in (tmp_path / "run").iterdir()} == {CURRENT, "losses.jsonl"}
    assert {path.suffix for path in (tmp_path / "run" / CURRENT).iterdir()} == {".safetensors", ".json"}


def test_bf16_training_lowers_the_loss_and_leaves_fp32_weights(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model, dataset = tiny_model(Family.T5, tokenizer), tiny_set(tokenizer)
    options = replace(OPTIONS, bounds=Bounds(epochs=15), precision="bf16", accumulation=2, dropout=0.0)

    report = train(model, dataset, options, tiny_context(tmp_path), dev=dataset)

    assert report.dev_loss_before is not None
    assert report.dev_loss_after is not None
    assert report.dev_loss_after < report.dev_loss_before - 0.3
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def overfitted(folder: Path, dataset: TrainingSet | None = None, run: str = "run") -> tuple[Any, TrainingReport]:
    """Trains a random T5 for so long that it knows the few sentences by heart, and other sentences less and less."""
    tokenizer = tiny_tokenizer(Family.T5, folder / "tokenizer")
    model, pairs = tiny_model(Family.T5, tokenizer), dataset or tiny_set(tokenizer)
    dev = tiny_set(tokenizer).with_examples([Example(*pair) for pair in HELD_OUT])
    options = steps(260, learning_rate=6e-3, dropout=0.0, label_smoothing=0.0)
    report = train(model, pairs, options, tiny_context(folder), checkpoint_folder=folder / run, dev=dev)
    return model, report


def test_the_state_with_the_lowest_loss_on_dev_data_is_the_result(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    dev = tiny_set(tokenizer).with_examples([Example(*pair) for pair in HELD_OUT])

    model, report = overfitted(tmp_path)

    assert report.kept_step is not None
    assert 0 < report.kept_step < report.steps
    assert report.dev_loss_before is not None
    assert report.dev_loss_after is not None
    assert report.dev_loss_last is not None
    assert report.dev_loss_after < report.dev_loss_last
    assert report.dev_loss_after < report.dev_loss_before
    assert dev_loss(model, dev, tiny_context(tmp_path), report.precision) == report.dev_loss_after
    assert f"The weights are those of step {report.kept_step}, which have the lowest loss" in "\n".join(report.lines())


def test_a_run_that_resumes_after_its_best_step_has_the_weights_of_this_step(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    whole, report = overfitted(tmp_path, run="whole")

    interrupted = InterruptedSet(tokenizer, signal.SIGINT, after_reads=40 * len(EXAMPLES))
    with pytest.raises(KeyboardInterrupt):
        overfitted(tmp_path, interrupted, run="parts")
    resumed, again = overfitted(tmp_path, run="parts")

    assert report.kept_step is not None
    assert again.resumed_from is not None
    assert again.resumed_from > report.kept_step, "the checkpoint did not have to keep the best weights"
    assert again.kept_step == report.kept_step
    assert again.dev_loss_before == report.dev_loss_before
    assert_same_weights(resumed, whole)


def test_measuring_dev_data_does_not_change_the_steps(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    dev = tiny_set(tokenizer).with_examples([Example(*HELD_OUT[0])])
    options = steps(STEPS, dropout=0.1)

    for name, measured in (("without", None), ("with", dev)):
        model = tiny_model(Family.T5, tokenizer)
        folder = tmp_path / name
        train(model, tiny_set(tokenizer), options, tiny_context(tmp_path), checkpoint_folder=folder, dev=measured)

    assert losses(tmp_path / "without") == losses(tmp_path / "with")


def test_the_loss_that_is_shown_at_the_end_is_that_of_the_summary(tmp_path: Path) -> None:
    displays: list[Progress] = []

    def display(console: Console) -> Progress:
        displays.append(Progress(console=console, disable=True))
        return displays[-1]

    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    model, dataset = tiny_model(Family.T5, tokenizer), tiny_set(tokenizer)

    report = train(model, dataset, steps(STEPS), tiny_context(tmp_path, display=display))

    [training] = [task for each in displays for task in each.tasks if task.description == "Training"]
    assert report.first_loss is not None
    assert report.last_loss is not None
    # Means over halves of so short a run share no step.
    assert report.last_loss < report.first_loss
    assert training.fields["status"].startswith(f"step {STEPS}, training loss {report.last_loss:.3f}, ")
    assert f", training loss {report.first_loss:.3f} to {report.last_loss:.3f}, fp32" in report.lines()[0]


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path)
    model = tiny_model(Family.T5, tokenizer)
    torch.nn.init.constant_(model.get_parameter("shared.weight"), float("nan"))

    with pytest.raises(TrainingDiverged, match="step 1"):
        train(model, tiny_set(tokenizer), OPTIONS, tiny_context(tmp_path))


def test_a_student_learns_from_its_teacher(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path)
    dataset, context = tiny_set(tokenizer), tiny_context(tmp_path)
    teacher, student = (tiny_model(Family.BART, tokenizer, seed) for seed in (1, 2))
    options = replace(OPTIONS, bounds=Bounds(max_steps=40), alpha=1.0, dropout=0.0)

    report = train(student, dataset, options, context, teacher=teacher)

    assert report.first_loss is not None
    assert report.last_loss is not None
    assert report.last_loss < report.first_loss


def test_a_teacher_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer(Family.BART, tmp_path)
    teacher, student = (tiny_model(Family.BART, tokenizer, seed) for seed in (1, 2))
    teacher.resize_token_embeddings(128)

    with pytest.raises(BadParameters, match="128 tokens"):
        train(student, tiny_set(tokenizer), replace(OPTIONS, alpha=1.0), tiny_context(tmp_path), teacher=teacher)


@pytest.mark.parametrize(
    "wrong", [{"bounds": Bounds()}, {"learning_rate": 0.0}, {"temperature": 0.0}, {"alpha": 2.0}, {"dropout": 1.0}]
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadParameters):
        replace(OPTIONS, **wrong).check()
