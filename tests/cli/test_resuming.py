"""A training that is interrupted, by Ctrl-C or by force, goes on where it was: the same command does it."""

import os
import re
import shlex
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.compression.train.unfinished import FOLDER, unfinished_trainings
from slimseq.models_store.manifest import Task
from tests.command_line import compression, compression_in, compression_without_room, invoked
from tests.compression.tiny import tiny_dev, tiny_file, tiny_store
from tests.forking import Forked, start

TASK = Task.TRANSLATION
STEPS = 60
# Time until the first checkpoint of a training, on a busy machine.
START_SECONDS = 240


@pytest.fixture
def command(context: Context, tmp_path: Path) -> list[str]:
    """A training of seconds, with a checkpoint after each step."""
    words: list[object] = ["distill", TASK, "original", "--name", "student", "--data", tiny_file(tmp_path)]
    words += ["--dev", tiny_dev(tmp_path), "--max-steps", STEPS, "--tokens-per-batch", 64, "--checkpoint-seconds", 0]
    # The store comes last, so that a test can replace it.
    words += ["--store", context.store.root]
    return [str(word) for word in words]


def interrupted(command: Sequence[str], root: Path, number: int, log: Path) -> str:
    """Starts a command, ends it with a signal after its first checkpoint, and returns what it printed."""
    process = start(["slimseq", *command], os.environ, log, log)
    end_after_first_checkpoint(process, number, root, log)
    return log.read_text()


def end_after_first_checkpoint(process: Forked, number: int, root: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not list(root.glob(f"{FOLDER}/*/*/checkpoint/state.json")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    process.send_signal(number)
    process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_goes_on_and_ends_in_the_same_files(
    context: Context, tmp_path: Path, command: list[str], number: int
) -> None:
    whole = tiny_store(tmp_path / "undisturbed")
    undisturbed = compression(*command[:-1], whole.store.root)
    assert undisturbed.code == 0, undisturbed.error

    interrupted(command, context.store.root, number, tmp_path / "log")
    [left] = unfinished_trainings(context.store.root)
    between = context.store.variants(TASK)
    finished = compression(*command)

    assert left.steps is not None
    assert 0 < left.steps < STEPS
    assert between == ["original"]
    assert finished.code == 0, finished.error
    assert f"Resuming at step {left.steps} of {STEPS} from {left.folder}\n" in finished.error
    context.store.verify(TASK, "student")
    assert context.store.manifest(TASK, "student").digest == whole.store.manifest(TASK, "student").digest
    # Nothing is left but the variants.
    assert not (context.store.root / FOLDER).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_how_to_go_on_and_how_to_give_it_up(
    context: Context, tmp_path: Path, command: list[str], number: int
) -> None:
    printed = interrupted(command, context.store.root, number, tmp_path / "log")

    [left] = unfinished_trainings(context.store.root)
    assert f"The training of translation/student is kept at step {left.steps}, in {left.folder} (" in printed
    assert (
        f"The same command goes on from there; with --anew it starts anew. To give it up: rm -r {left.folder}"
        in printed
    )
    assert "Traceback" not in printed


def test_an_unfinished_training_is_listed(context: Context, tmp_path: Path, command: list[str]) -> None:
    interrupted(command, context.store.root, signal.SIGKILL, tmp_path / "log")

    listed = compression("list", "--store", context.store.root)

    [left] = unfinished_trainings(context.store.root)
    assert listed.code == 0
    assert left.name == "translation/student"
    assert f"Unfinished training of translation/student, at step {left.steps}, " in listed.error
    assert f"rm -r {left.folder}" in listed.error


def test_another_command_does_not_go_on_with_an_unfinished_training(
    context: Context, tmp_path: Path, command: list[str]
) -> None:
    interrupted(command, context.store.root, signal.SIGINT, tmp_path / "log")
    unfinished = unfinished_trainings(context.store.root)
    command[command.index("student")] = "other"
    command[command.index(str(STEPS))] = "2"

    other = compression(*command)

    assert other.code == 0, other.error
    assert "Resuming" not in other.error
    assert unfinished_trainings(context.store.root) == unfinished


def test_with_anew_a_command_starts_anew(context: Context, tmp_path: Path, command: list[str]) -> None:
    interrupted(command, context.store.root, signal.SIGINT, tmp_path / "log")

    anew = compression(*command, "--anew")

    assert anew.code == 0, anew.error
    assert "Resuming" not in anew.error, anew.error
    assert unfinished_trainings(context.store.root) == []


def test_what_decides_the_result_decides_where_a_training_goes_on(context: Context, tmp_path: Path) -> None:
    data = tiny_file(tmp_path)
    words = ("prune", TASK, "original", "--data", data, "--max-steps", 1, "--store", context.store.root)

    def stopped_in(*more: object) -> Path:
        """Returns the folder in which a training keeps its checkpoints. The training fails, as the folder is a file."""
        blocked = context.store.root / FOLDER
        blocked.write_text("")
        error = invoked(*words, *more).error
        blocked.unlink()
        found = re.search(r"\S+/\.training/\S+-[0-9a-f]{12}", error)
        assert found, error
        return Path(found.group())

    first = stopped_in()
    again = stopped_in()
    others = [
        stopped_in("--seed", 1),
        stopped_in("--name", "other"),
        stopped_in("--learning-rate", 1e-5),
        stopped_in("--dev", tiny_dev(tmp_path)),
    ]
    with Path(data).open("a") as file:
        file.write('{"source": "One more.", "target": "Noch einer."}\n')
    others.append(stopped_in())

    assert again == first
    assert first not in others
    assert len(set(others)) == len(others)


def test_a_copied_parent_stays_for_the_training_that_goes_on(context: Context, tmp_path: Path) -> None:
    """A new store gets a copy of the embedded model. Without this copy, the checkpoint would be of no use."""
    words = ["prune", TASK, "original", "--data", tiny_file(tmp_path), "--max-steps", 10**6, "--checkpoint-seconds", 0]
    log = tmp_path / "log"
    work = tmp_path / "work"
    work.mkdir()
    process = start(["slimseq", *map(str, words)], os.environ | {"SLIMSEQ_STORE": ""}, log, log, work)
    end_after_first_checkpoint(process, signal.SIGINT, work / "artifacts", log)

    listed = compression_in(work, "list")

    assert "original" in listed.out
    assert "Unfinished training of translation/pruned, at step " in listed.error
    [left] = unfinished_trainings(work / "artifacts")
    assert shlex.join(["slimseq", *left.command]) in listed.error


def test_a_disk_that_has_no_room_for_a_checkpoint_is_one_line_and_loses_nothing(
    context: Context, tmp_path: Path, command: list[str]
) -> None:
    printed = interrupted(command, context.store.root, signal.SIGKILL, tmp_path / "log")
    [left] = unfinished_trainings(context.store.root)

    # No file can have more bytes than this, and a checkpoint has more.
    full = compression_without_room(30_000, *command)
    [after] = unfinished_trainings(context.store.root)
    again = compression(*command)

    assert full.code == 1, printed
    assert full.error.splitlines()[-1] == f"error: {left.folder} cannot be written: File too large"
    assert f"kept at step {left.steps}, in {left.folder}" in full.error
    assert after.steps == left.steps
    assert again.code == 0
    assert f"Resuming at step {left.steps} of" in again.error


def test_a_training_goes_on_without_checkpoints_where_they_would_not_fit(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("slimseq.compression.train.training_run.shutil.disk_usage", lambda _: usage)

    command[command.index(str(STEPS))] = "3"

    done = invoked(*command)

    assert done.code == 0, done.error
    assert re.search(r"Warning: checkpoints need 0\.00 GB, and \S+ has 0\.00 GB free\. None is written, so", done.error)
    assert unfinished_trainings(context.store.root) == []
