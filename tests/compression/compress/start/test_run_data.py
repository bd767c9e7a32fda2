"""What a run measures on is new to what it trains, of the model's languages, and enough to choose on."""

import json
from pathlib import Path

import pytest

from slimseq.compression.compress.start.run_data import RunData, read_data
from slimseq.compression.errors import BadData
from slimseq.models_store.manifest import Task
from tests.compression.compress.pairs import pairs, written_pairs
from tests.compression.tiny import tiny_store


def data(folder: Path, train: str, dev: tuple[str, ...] = (), seed: int = 0) -> RunData:
    context = tiny_store(folder, seed=seed)
    manifest = context.store.manifest(Task.TRANSLATION, "original")
    return read_data(context, manifest, [train], dev, folder, is_agreement=False)


def written(path: Path, rows: list[tuple[str, str]]) -> str:
    lines = (json.dumps({"source": source, "target": target}) for source, target in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_pairs_are_held_out_by_the_seed_and_left_out_of_the_training(tmp_path: Path) -> None:
    train = written_pairs(tmp_path / "train.jsonl", 1000)

    first, again, other = (data(tmp_path, train, seed=seed) for seed in (0, 0, 1))

    assert first.dev == again.dev
    assert {each.source for each in first.dev} != {each.source for each in other.dev}
    assert first.exclude == [str(tmp_path / "dev.jsonl")]
    assert first.is_held_out


def test_calibration_pairs_are_not_held_out_ones(tmp_path: Path) -> None:
    found = data(tmp_path, written_pairs(tmp_path / "train.jsonl", 1000))

    calibration = {json.loads(line)["source"] for line in found.calibration.read_text().splitlines()}

    assert calibration
    assert not calibration & {each.source for each in found.dev}


def test_named_dev_pairs_are_taken_and_nothing_is_held_out(tmp_path: Path) -> None:
    rows = pairs(400)
    train, dev = written(tmp_path / "train.jsonl", rows[:300]), written(tmp_path / "dev.jsonl", rows[300:])

    found = data(tmp_path, train, (dev,))

    assert {each.source for each in found.dev} == {source for source, _ in rows[300:]}
    assert found.exclude == []


def test_too_few_pairs_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="150 different pairs; compress needs at least 200"):
        data(tmp_path, written_pairs(tmp_path / "train.jsonl", 150))


def test_dev_pairs_that_are_in_the_training_data_are_refused(tmp_path: Path) -> None:
    rows = pairs(400)
    train, dev = written(tmp_path / "train.jsonl", rows), written(tmp_path / "dev.jsonl", rows[:100])

    with pytest.raises(BadData, match="are in the training data"):
        data(tmp_path, train, (dev,))


def test_too_few_dev_pairs_are_refused(tmp_path: Path) -> None:
    rows = pairs(350)
    train, dev = written(tmp_path / "train.jsonl", rows[:300]), written(tmp_path / "dev.jsonl", rows[300:])

    with pytest.raises(BadData, match="at least 60 are needed"):
        data(tmp_path, train, (dev,))


def test_pairs_of_other_languages_than_the_models_are_refused(tmp_path: Path) -> None:
    turned = [(target, source) for source, target in pairs(300)]

    with pytest.raises(BadData, match="seem to be in German"):
        data(tmp_path, written(tmp_path / "train.jsonl", turned))


def test_data_that_repeats_itself_asks_for_held_out_pairs(tmp_path: Path) -> None:
    rows = [(f"Please pay invoice number {index} before Friday at noon.", f"Rechnung {index}.") for index in range(400)]

    with pytest.raises(BadData, match="name held-out pairs with --dev"):
        data(tmp_path, written(tmp_path / "train.jsonl", rows))
