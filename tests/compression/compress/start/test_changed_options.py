"""What stays in the folder of a run, and what is found anew, when the next command has other options."""

from pathlib import Path
from typing import Any

import pytest

from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.compress.start.changed_options import Change, find_change, names_made, take_over, trainings
from slimseq.compression.compress.start.command_record import COMMAND, WITHIN
from slimseq.compression.errors import BadParameters

RECORD: dict[str, Any] = {"the model": "sha256:1", "--keep": 0.9, "--within": "600s", "--test": [], "--seed": 0}
FINDINGS: dict[str, Any] = {
    COMMAND: RECORD,
    "dev pairs": 200,
    "decoding": {"chosen": "own"},
    "search of shapes": "own",
    "allows training": True,
    "costs": {"a": 1},
    "losses": {"b": 2},
    "shapes": [{"name": "shape1", "plan": 1}, {"name": "shape2", "plan": 2}],
    "first stage steps": 40,
    "first stage of shape1, 40 steps": {"steps": 40},
    "steps of shape1": 300,
    "shape1 at step 75": {"is_in_time": True},
    "made shape1": {"name": "shape1", "title": "", "steps": []},
    "steps of shape2": 300,
    "shape2 at step 75": {"is_in_time": True},
    "shapes between, 0": [{"name": "shape5"}],
    "speeds": {"shape1": 1},
}
# What needs no time to be kept, whatever changes.
LASTING = {"dev pairs", "decoding", "search of shapes", "costs", "losses", "made shape1"}


def changed_run(path: Path, seconds: float = 600, **changes: Any) -> RunFolder:
    """Returns the folder of a run, after a command with changed options took it over."""
    folder = RunFolder(path)
    record = RECORD | {f"--{name}": value for name, value in changes.items()}
    with folder.opened():
        folder.revise([], FINDINGS)
        take_over(folder, record, find_change(folder, record, seconds))
    return folder


def test_the_same_command_changes_nothing(tmp_path: Path) -> None:
    folder = changed_run(tmp_path)

    assert {name: folder.get(name) for name in folder.names()} == FINDINGS


def test_more_time_keeps_what_was_measured_and_trains_the_shapes_anew_under_new_names(tmp_path: Path) -> None:
    folder = changed_run(tmp_path, within="1200s", seconds=1200)

    assert set(folder.names()) >= LASTING
    assert [shape["name"] for shape in folder.get("shapes")] == ["shape1-2", "shape2-2"]
    assert [shape["plan"] for shape in folder.get("shapes")] == [1, 2]
    assert not folder.has("allows training") and not folder.has("first stage steps") and not folder.has("speeds")
    assert not [name for name in folder.names() if name.startswith("steps of") or " at step " in name]
    assert names_made(folder) == {"shape1"}
    assert folder.get(COMMAND)[WITHIN] == "1200s"


def test_more_time_twice_counts_the_trainings(tmp_path: Path) -> None:
    folder = changed_run(tmp_path, within="1200s", seconds=1200)
    with folder.opened():
        folder.find_or_make("made shape2-2", lambda: {})
        longer = RECORD | {"--within": "2400s"}
        take_over(folder, longer, find_change(folder, longer, 2400))

    assert [shape["name"] for shape in folder.get("shapes")] == ["shape1-3", "shape2-3"]
    assert names_made(folder) == {"shape1", "shape2-2"}


def test_less_time_goes_on_with_the_trainings_that_have_not_ended(tmp_path: Path) -> None:
    folder = changed_run(tmp_path, within="300s", seconds=300)

    assert set(folder.names()) >= LASTING | {"allows training", "first stage steps", "steps of shape1"}
    assert [shape["name"] for shape in folder.get("shapes")] == ["shape1", "shape2"]
    assert folder.has("shapes between, 0") and trainings(folder) == 1
    assert not folder.has("steps of shape2") and not folder.has("shape2 at step 75")


def test_less_time_and_another_bar_find_anew_what_depends_on_either(tmp_path: Path) -> None:
    folder = changed_run(tmp_path, within="300s", seconds=300, keep=0.8)

    forgotten = {"steps of shape2", "shape2 at step 75", "speeds", "shapes between, 0"}
    assert set(FINDINGS) - set(folder.names()) == forgotten


def test_another_bar_times_the_variants_again_and_keeps_everything_else(tmp_path: Path) -> None:
    folder = changed_run(tmp_path, keep=0.8)

    assert set(FINDINGS) - set(folder.names()) == {"speeds", "shapes between, 0"}
    assert folder.get("shapes") == FINDINGS["shapes"]
    # Shapes between others are other ones now, and must not have the names of those before.
    assert trainings(folder) == 2


def test_other_test_data_keeps_everything(tmp_path: Path) -> None:
    folder = changed_run(tmp_path, test=["sha256:2"])

    assert set(folder.names()) == set(FINDINGS)


def test_less_time_than_was_used_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "findings.json").write_text('{"seconds": 500.0}', encoding="utf-8")
    record = RECORD | {"--within": "300s"}

    with folder.opened():
        folder.revise([], FINDINGS)
        with pytest.raises(BadParameters, match=r"--within 5m is too short to go on: .* has used 8\.3 minutes"):
            find_change(folder, record, 300)

    assert {name: folder.get(name) for name in folder.names()} == FINDINGS


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [("--seed", 1, r"--seed \(0 there, 1 now\)"), ("the model", "sha256:2", "the model")],
)
def test_another_model_or_seed_is_refused(option: str, value: object, shown: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    with folder.opened():
        folder.revise([], FINDINGS)
        with pytest.raises(BadParameters, match=f"differs in {shown}; name another --folder"):
            find_change(folder, RECORD | {option: value}, 600)


def test_a_new_folder_has_no_change(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    with folder.opened():
        assert find_change(folder, RECORD, 600) == Change((), is_longer=False)
