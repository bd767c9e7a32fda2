"""A run of `compress` that is killed, interrupted or without room: the same command ends with the same variants."""

import json
import os
import random
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimseq.models_store.fronts import read_fronts
from slimseq.models_store.store import Store
from tests.command_line import Finished, compression, compression_without_room
from tests.compression.compress.learned import (
    TASK,
    WITHIN,
    copy_of_store,
    findings,
    learned_store,
    measured_findings,
    short_training,
    with_findings,
)
from tests.compression.compress.pairs import written_pairs
from tests.forking import Forked, start
from tests.service.client import eventually

# `KILLS=20` kills more often than the suite has time for.
KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("KILLS_SEED", "0"))
# Exit code of a command that SIGINT ended.
INTERRUPTED = 130
STOPPED = "stopped; nothing was left half-written"
# A command that is forked has imported most libraries, and begins its work after about so long.
START_SECONDS = 2
END_SECONDS = 240


@dataclass(frozen=True)
class Place:
    """The store and the folder of a run, and its command."""

    folder: Path
    data: str

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def words(self, within: str = WITHIN) -> Sequence[str]:
        options = ("--data", self.data, "--keep", "0.2", "--within", within, "--json")
        return ("compress", "translation/learned", *options, "--store", str(self.store.root), "--folder", str(self.run))

    def digests(self) -> dict[str, str]:
        """Returns the digest of every variant, after it was verified."""
        return {name: self.store.verify(TASK, name).digest for name in self.store.variants(TASK)}

    def started(self) -> Forked:
        return start(["slimseq", *self.words()], os.environ, self.folder / "log", self.folder / "log")

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8") if path.exists() else ""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learned_store(tmp_path_factory.mktemp("learned"))


@pytest.fixture(scope="module")
def unkilled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Finished]:
    """A run with training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("unkilled")
    place = Place(folder, written_pairs(folder / "train.jsonl", 400))
    copy_of_store(root, folder)
    with_findings(place.run, short_training("learned"))
    return place, compression(*place.words())


@pytest.fixture
def place(root: Path, unkilled: tuple[Place, Finished], tmp_path: Path) -> Place:
    """A run that begins with what the other one measured."""
    other, _ = unkilled
    copy_of_store(root, tmp_path)
    with_findings(tmp_path / "run", measured_findings(other.run))
    return Place(tmp_path, other.data)


def test_a_run_with_training_publishes_trained_shapes(unkilled: tuple[Place, Finished]) -> None:
    place, finished = unkilled

    assert finished.code == 0, finished.error
    assert any(name.startswith("first stage of") for name in findings(place.run))
    assert any(name.startswith("learned-shape") for name in place.digests())


def test_a_killed_run_ends_with_the_same_variants(place: Place, unkilled: tuple[Place, Finished]) -> None:
    other, first = unkilled
    chance = random.Random(SEED)
    # A third of the whole time at most: a run that goes on is shorter each time.
    longest = START_SECONDS + findings(other.run)["seconds"] / 3

    for _ in range(KILLS):
        process = place.started()
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, longest))
        process.kill()
        process.wait()
        # What is in the store is whole at all times.
        place.digests()
    last = compression(*place.words())

    assert last.code == 0, last.error
    assert place.digests() == other.digests()
    assert json.loads(last.out)["chosen"] == json.loads(first.out)["chosen"]
    assert read_fronts(place.store.root, TASK)[0].variants == read_fronts(other.store.root, TASK)[0].variants


def test_ctrl_c_is_one_line_and_publishes_nothing(place: Place) -> None:
    process = place.started()
    eventually(place.log, lambda log: "Removed" in log or process.poll() is not None, seconds=END_SECONDS)

    process.send_signal(signal.SIGINT)
    process.wait(END_SECONDS)

    assert process.returncode == INTERRUPTED, place.log()
    assert place.log().splitlines()[-1] == STOPPED
    assert "Traceback" not in place.log()
    assert list(place.digests()) == ["learned"]


def assert_full_disk_is_one_line(place: Place, finished: Finished) -> None:
    last = finished.error.splitlines()[-1]
    assert finished.code == 1
    assert last.startswith("error: ")
    assert "File too large" in last
    assert "Traceback" not in finished.error
    assert list(place.digests()) == ["learned"]


def test_a_disk_without_room_for_int8_is_one_line_and_the_same_command_goes_on(place: Place) -> None:
    words = place.words("2m")

    full = compression_without_room(30_000, *words)

    assert_full_disk_is_one_line(place, full)
    assert "costs" in findings(place.run)
    # The disk has room again.
    again = compression(*words)
    assert again.code == 0, again.error
    place.digests()


def test_a_disk_without_room_for_a_checkpoint_is_one_line_and_publishes_nothing(place: Place) -> None:
    full = compression_without_room(400_000, *place.words())

    assert_full_disk_is_one_line(place, full)
