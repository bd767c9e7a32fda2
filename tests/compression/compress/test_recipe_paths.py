"""Data files in the recipe of a run: named so that a build finds the same ones, here and elsewhere."""

from pathlib import Path

import pytest

from slimseq.compression.compress.recipe_paths import note_on_paths, path_in_recipe


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run, in a working directory with data of the user."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "mine"
    (folder / "data").mkdir(parents=True)
    for name in ("train.jsonl", "dev.jsonl", "a.en", "a.de", "runs/mine/dev.jsonl", "runs/mine/data/own.jsonl"):
        (tmp_path / name).write_text("{}")
    return folder


def test_files_beside_or_below_the_recipe_are_relative_to_it(run: Path) -> None:
    assert path_in_recipe("runs/mine/dev.jsonl", run) == "dev.jsonl"
    assert path_in_recipe(str(run / "data" / "own.jsonl"), Path("runs/mine")) == "data/own.jsonl"


def test_other_files_are_named_as_the_user_named_them(run: Path, tmp_path: Path) -> None:
    assert path_in_recipe("train.jsonl", run) == "train.jsonl"
    assert path_in_recipe("a.en:a.de", run) == "a.en:a.de"
    assert path_in_recipe(str(tmp_path / "train.jsonl"), run) == str(tmp_path / "train.jsonl")
    assert path_in_recipe("cnn_dailymail", run) == "cnn_dailymail"


def test_a_name_that_the_recipe_would_take_for_its_own_file_is_absolute(run: Path, tmp_path: Path) -> None:
    assert path_in_recipe("dev.jsonl", run) == str(tmp_path / "dev.jsonl")


def test_the_recipe_says_which_paths_do_not_move_along(run: Path, tmp_path: Path) -> None:
    names = ["data/own.jsonl", "train.jsonl", "train.jsonl", str(tmp_path / "a.en"), "cnn_dailymail"]

    note = note_on_paths(names, run)

    assert note.splitlines() == [
        "# Run `slimseq build` in the folder where compress ran. Relative to that folder: 'train.jsonl'.",
        f"# On another machine, change these paths first: '{tmp_path / 'a.en'}'.",
    ]
    assert note_on_paths(["data/own.jsonl"], run) == ""
