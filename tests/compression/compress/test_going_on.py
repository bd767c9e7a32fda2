"""A finished run, and a command with more time, another bar or other test data in the same folder."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store
from tests.command_line import Finished, invoked
from tests.compression.compress.learned import (
    copy_of_store,
    findings,
    learned_store,
    short_training,
    with_findings,
)
from tests.compression.compress.pairs import pairs, written_pairs

TASK = Task.TRANSLATION


@dataclass(frozen=True)
class Place:
    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def manifests(self) -> dict[str, Manifest]:
        return {name: self.store.verify(TASK, name) for name in self.store.variants(TASK)}

    def compress(self, *words: object, within: str = "10m", keep: str = "0.2") -> Finished:
        own = ("--store", self.store.root, "--folder", self.run, "--data", self.folder / "train.jsonl", "--json")
        return invoked("compress", "translation/learned", *own, "--within", within, "--keep", keep, *words)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The folder of a run with training that has ended."""
    folder = tmp_path_factory.mktemp("finished")
    copy_of_store(learned_store(tmp_path_factory.mktemp("learned")), folder)
    written_pairs(folder / "train.jsonl", 400)
    with_findings(folder / "run", short_training("learned"))
    place = Place(folder)
    command = place.compress()
    assert command.code == 0, command.error
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    return Place(Path(shutil.copytree(finished.folder, tmp_path / "place")))


def trained(place: Place) -> set[str]:
    """Returns the names of the shapes whose training has ended."""
    return {name.removeprefix("made ") for name in findings(place.run) if name.startswith("made ") and "shape" in name}


def test_more_time_keeps_the_trained_variants_and_adds_longer_trainings(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time that is left would be used for training.
    monkeypatch.setattr("slimseq.compression.compress.shape_candidates.SHORT_TRAINING_SHARE", 0.0)
    monkeypatch.setattr("slimseq.compression.compress.shape_candidates.steps_in_all", lambda *_: 80)
    before, known, published = findings(place.run), trained(place), place.manifests()

    longer = place.compress(within="30m")

    assert longer.code == 0, longer.error
    after = findings(place.run)
    for name in ("dev pairs", "decoding", "losses", "calibration pairs", "seconds_of_a_pair", "made learned-quantized"):
        assert after[name] == before[name]
    assert trained(place) > known
    assert all("-2" in name for name in trained(place) - known)
    # Nothing that the first command published was made again.
    assert {name: place.manifests()[name].digest for name in published} == {
        name: manifest.digest for name, manifest in published.items()
    }


def test_another_bar_is_decided_on_what_was_made(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    # The time that is left would be used for shapes between those that keep the bar and those that miss it.
    monkeypatch.setattr("slimseq.compression.compress.shape_candidates.steps_in_all", lambda *_: 80)
    before, published = findings(place.run), place.manifests()

    higher = place.compress(keep="0.3")

    assert higher.code in (0, 2), higher.error
    after = findings(place.run)
    assert after["command"]["--keep"] == 0.3
    for name in ("dev pairs", "decoding", "costs", "losses", "shapes"):
        assert after[name] == before[name]
    assert trained(place)
    assert {name: place.manifests()[name].digest for name in published} == {
        name: manifest.digest for name, manifest in published.items()
    }


def test_the_smallest_is_sought_among_shapes_with_int4_weights_too(place: Place) -> None:
    shutil.rmtree(place.run)
    with_findings(place.run, short_training("small"))

    command = place.compress("--aim", "smallest", "--name", "small")

    assert command.code == 0, command.error
    made = {name for name in trained(place) if name.endswith("-int4")}
    assert made
    assert all(f"{name}: " in command.error for name in made)
    run = Store(place.run / "build" / "steps")
    for name in made:
        int8 = run.manifest(TASK, name.removesuffix("-int4"))
        int4 = run.manifest(TASK, name)
        assert int4.size.bytes_by_format["onnx"] < int8.size.bytes_by_format["onnx"]
        assert int4.size.parameters == int8.size.parameters


def test_layers_stay_whole_where_measuring_what_they_are_worth_would_take_too_long(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(place.run)
    with_findings(place.run, short_training("slow"))
    monkeypatch.setattr("slimseq.compression.compress.shape_finder.least_seconds", lambda *_: 3600.0)

    command = place.compress("--name", "slow")

    assert command.code == 0, command.error
    assert not trained(place)
    [remark] = [each for each in command.json["remarks"] if "to cut layers" in each]
    assert "takes 60 minutes for this model and these texts. The same with --within 375m goes on." in remark


def test_test_data_may_be_named_later(place: Place) -> None:
    rows = [pair for pair in pairs(600, seed=3) if pair not in pairs(400)][:60]
    lines = (json.dumps({"source": source, "target": target}) for source, target in rows)
    test = place.folder / "test.jsonl"
    test.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    before = findings(place.run)

    tested = place.compress("--test", test)

    assert tested.code == 0, tested.error
    assert tested.json["tested"]
    after = findings(place.run)
    assert {name: after[name] for name in before if name not in ("command", "seconds")} == {
        name: before[name] for name in before if name not in ("command", "seconds")
    }


def test_less_time_than_was_used_is_one_line_and_changes_nothing(place: Place) -> None:
    path = place.run / "findings.json"
    path.write_text(json.dumps(findings(place.run) | {"seconds": 400.0}))
    before = path.read_text()

    shorter = place.compress(within="2m")

    assert shorter.code == 1
    assert "--within 2m is too short to go on" in shorter.error.splitlines()[-1]
    assert path.read_text() == before
