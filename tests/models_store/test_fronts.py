"""The file of a task's fronts: what `compress` adds, and what is refused."""

from pathlib import Path

import pytest

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.fronts import add_front, read_fronts
from slimseq.models_store.manifest import Task
from tests.app.serving.artifacts import manifest, variant_of
from tests.hand_made_fronts import front_of, structures

ORIGINAL = manifest()
SMALL = variant_of(ORIGINAL, "small")


def test_a_store_without_a_run_has_no_fronts(tmp_path: Path) -> None:
    assert read_fronts(tmp_path, Task.TRANSLATION) == []


def test_a_later_run_of_the_same_original_replaces_the_earlier_one_alone(tmp_path: Path) -> None:
    (tmp_path / "translation").mkdir()
    other = manifest(variant="opus")
    for front in (front_of(ORIGINAL, [SMALL], None), front_of(other, [SMALL], "small")):
        add_front(tmp_path, Task.TRANSLATION, front)

    later = front_of(ORIGINAL, [SMALL], "small", within="3m", structures=structures(2))
    add_front(tmp_path, Task.TRANSLATION, later)

    assert read_fronts(tmp_path, Task.TRANSLATION) == [front_of(other, [SMALL], "small"), later]
    assert read_fronts(tmp_path, Task.SUMMARIZATION) == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("no JSON", "fronts.json"),
        ('{"schema_version": 2, "fronts": []}', "schema_version"),
        ('{"fronts": [{"original": "x"}]}', "digest"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_fault(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "translation").mkdir()
    (tmp_path / "translation" / "fronts.json").write_text(content, encoding="utf-8")

    with pytest.raises(InvalidArtifact, match=fault):
        read_fronts(tmp_path, Task.TRANSLATION)
