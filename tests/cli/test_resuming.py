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
from tests.forking import start

TASK = Task.TRANSLATION
STEPS = 60


@pytest.fixture
def command(context: Context, tmp_path: Path) -> list[str]:
    """A training of seconds, with a checkpoint after each step."""
    data, dev = tiny_file(tmp_path), tiny_dev(tmp_path)
    words = ["distill", TASK, "original", "--name", "student", "--data", data, "--dev", dev, "--max-steps", STEPS]
    ends = ["--tokens-per-batch", 64, "--checkpoint-seconds", 0, "--store", context.store.root]
    return list(map(str, [*words, *ends]))


def interrupted(command: Sequence[str], root: Path, number: int, log: Path) -> str:
    """Starts a command, ends it with a signal after its first checkpoint, and returns what it said."""
    process = start(["slimseq", *command], os.environ, log, log)
    deadline = time.monotonic() + 240
    while not list(root.glob(f"{FOLDER}/*/*/checkpoint/state.json")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    process.send_signal(number)
    process.wait(60)
    return log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_goes_on_and_ends_in_the_same_files(
    context: Context, tmp_path: Path, command: list[str], number: int
) -> None:
    whole = tiny_store(tmp_path / "undisturbed")
    undisturbed = compression(*command[:-1], whole.store.root)
    assert undisturbed.code == 0, undisturbed.error

    said = interrupted(command, context.store.root, number, tmp_path / "log")
    [left] = unfinished_trainings(context.store.root)
    listed = compression("list", "--store", context.store.root)
    between = context.store.variants(TASK)
    finished = compression(*command)

    if number != signal.SIGKILL:
        assert f"The training of translation/student is kept at step {left.steps}, in {left.folder} (" in said
        assert (
            f"The same command goes on from there; with --anew it starts anew. To give it up: rm -r {left.folder}"
            in said
        )
        assert "Traceback" not in said
    assert left.name == "translation/student"
    assert left.steps is not None
    assert 0 < left.steps < STEPS
    assert f"Unfinished training of translation/student, at step {left.steps}, " in listed.error
    assert f"rm -r {left.folder}" in listed.error
    assert listed.code == 0
    assert between == ["original"]
    assert finished.code == 0, finished.error
    assert f"Resuming at step {left.steps} of {STEPS} from {left.folder}\n" in finished.error
    digests = [store.manifest(TASK, "student").digest for store in (whole.store, context.store)]
    assert digests[0] == digests[1]
    # Nothing is left but the variants.
    for store in (whole.store, context.store):
        assert not (store.root / FOLDER).exists()
    context.store.verify(TASK, "student")


def test_another_command_and_a_new_beginning_do_not_go_on(context: Context, tmp_path: Path, command: list[str]) -> None:
    interrupted(command, context.store.root, signal.SIGINT, tmp_path / "log")
    [left] = unfinished_trainings(context.store.root)
    few_steps = [{str(STEPS): "2", "student": "other"}.get(word, word) for word in command]

    other = compression(*few_steps)
    kept = unfinished_trainings(context.store.root)
    anew = compression(*command, "--anew")

    assert other.code == 0
    assert "Resuming" not in other.error
    assert kept == [left]
    assert anew.code == 0, anew.error
    assert "Resuming" not in anew.error, anew.error
    assert unfinished_trainings(context.store.root) == []


def test_what_decides_the_result_decides_where_a_training_goes_on(context: Context, tmp_path: Path) -> None:
    data = tiny_file(tmp_path)
    words = ("prune", TASK, "original", "--data", data, "--max-steps", 1, "--store", context.store.root)
    seen: list[Path] = []

    def stopped_in(*more: object) -> Path:
        """Returns the folder of a training that ends before its first checkpoint, for want of a folder for it."""
        blocked = context.store.root / FOLDER
        blocked.write_text("")
        error = invoked(*words, *more).error
        blocked.unlink()
        found = re.search(r"\S+/\.training/\S+-[0-9a-f]{12}", error)
        assert found, error
        return Path(found.group())

    seen.append(stopped_in())
    assert stopped_in() == seen[0]
    for more in (("--seed", 1), ("--name", "other"), ("--learning-rate", 1e-5), ("--dev", tiny_dev(tmp_path))):
        seen.append(stopped_in(*more))
    with Path(data).open("a") as file:
        file.write('{"source": "One more.", "target": "Noch einer."}\n')
    seen.append(stopped_in())

    assert len(set(seen)) == 6
    assert len(seen) == 6


def test_a_copied_parent_stays_for_the_training_that_goes_on(context: Context, tmp_path: Path) -> None:
    """Where an embedded model was copied into a new store, its checkpoint would be of no use without it."""
    words = ["prune", TASK, "original", "--data", tiny_file(tmp_path), "--max-steps", 10**6, "--checkpoint-seconds", 0]
    log = tmp_path / "log"
    work = tmp_path / "work"
    work.mkdir()
    process = start(["slimseq", *map(str, words)], os.environ | {"SLIMSEQ_STORE": ""}, log, log, work)
    deadline = time.monotonic() + 240
    while not list(work.glob(f"artifacts/{FOLDER}/*/*/checkpoint/state.json")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(60)

    listed = compression_in(work, "list")

    assert "original" in listed.out
    assert "Unfinished training of translation/pruned, at step " in listed.error
    [left] = unfinished_trainings(work / "artifacts")
    assert shlex.join(["slimseq", *left.command]) in listed.error


def test_a_disk_that_has_no_room_for_a_checkpoint_is_one_line_and_loses_nothing(
    context: Context, tmp_path: Path, command: list[str]
) -> None:
    said = interrupted(command, context.store.root, signal.SIGKILL, tmp_path / "log")
    [left] = unfinished_trainings(context.store.root)

    full = compression_without_room(30_000, *command)
    [after] = unfinished_trainings(context.store.root)
    again = compression(*command)

    assert full.code == 1, said
    assert full.error.splitlines()[-1] == f"error: {left.folder} cannot be written: File too large"
    assert f"kept at step {left.steps}, in {left.folder}" in full.error
    assert after.steps == left.steps
    assert again.code == 0
    assert f"Resuming at step {left.steps} of" in again.error


def test_a_training_goes_on_without_checkpoints_where_they_would_not_fit(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("slimseq.compression.train.trainer.shutil.disk_usage", lambda _: usage)

    done = invoked(*(("3" if word == str(STEPS) else word) for word in command))

    assert done.code == 0, done.error
    assert re.search(r"Warning: checkpoints need 0\.00 GB, and \S+ has 0\.00 GB free\. None is written, so", done.error)
    assert unfinished_trainings(context.store.root) == []
