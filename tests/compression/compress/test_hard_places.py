"""A run whose original is replaced, whose store is read-only, whose disk is full, or whose names are taken."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from slimseq.compression.compress.candidate import Candidate
from slimseq.compression.compress.front import Front, choose_front
from slimseq.compression.compress.run import Run
from slimseq.models_store.manifest import Task
from tests.command_line import invoked
from tests.compression.compress.learned import taught_store
from tests.compression.compress.pairs import pairs, written_pairs, written_rows
from tests.compression.compress.test_going_on import Place, finished, place
from tests.compression.test_interrupted_commands_and_read_only_stores import run_on_read_only
from tests.compression.tiny import tiny_import, tiny_store

__all__ = ["finished", "place"]
TASK = Task.TRANSLATION


def replace_original(place: Place) -> str:
    """Puts other weights under the original's name, and returns their digest."""
    other = tiny_store(place.folder / "other")
    place.store.remove(TASK, "learned")
    (other.store.folder(TASK, "original")).rename(place.store.folder(TASK, "learned"))
    manifest = place.store.folder(TASK, "learned") / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"original"', '"learned"'))
    return place.store.verify(TASK, "learned").digest


def test_an_original_that_is_replaced_during_a_run_is_one_line_and_nothing_is_published(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in place.store.variants(TASK):
        if name != "learned":
            place.store.remove(TASK, name)
    replaced: list[str] = []

    def replaced_before_the_choice(run: Run, candidates: Sequence[Candidate]) -> Front:
        replaced.append(replace_original(place))
        return choose_front(run, candidates)

    monkeypatch.setattr("slimseq.compression.compress.compress.choose_front", replaced_before_the_choice)

    command = place.compress()

    assert command.code == 1
    assert "translation/learned is another model" in command.error.splitlines()[-1]
    assert "Traceback" not in command.error
    assert {name: each.digest for name, each in place.manifests().items()} == {"learned": replaced[0]}


def test_an_original_that_was_replaced_since_is_refused_at_the_start(place: Place) -> None:
    replace_original(place)
    before = (place.run / "findings.json").read_text()

    command = place.compress()

    assert command.code == 1
    assert "has the run of another command, which differs in the model" in command.error.splitlines()[-1]
    assert (place.run / "findings.json").read_text() == before


def test_names_that_are_taken_are_replaced_with_force_alone(place: Place) -> None:
    # Which variants are in the front depends on the speeds of this machine.
    published = next(name for name in place.manifests() if name != "learned")
    own = place.manifests()[published].digest
    place.store.remove(TASK, published)
    words = ("quantize", TASK, "learned", "--name", published, "--scheme", "bf16", "--store", place.store.root)
    assert invoked(*words).code == 0
    taken = place.manifests()[published].digest

    refused = place.compress()
    between = place.manifests()[published].digest
    forced = place.compress("--force")

    assert refused.code == 1
    assert f"would replace translation/{published}" in refused.error.splitlines()[-1]
    assert between == taken
    assert forced.code == 0, forced.error
    assert place.manifests()[published].digest == own


def words_of(folder: Path, root: Path) -> list[str]:
    data = written_pairs(folder / "train.jsonl", 300)
    own = ["--store", str(root), "--folder", str(folder / "run"), "--within", "2m", "--keep", "0.5"]
    return [sys.executable, "-m", "slimseq", "compress", "translation/original", "--data", data, *own]


def test_a_read_only_store_is_one_line_before_any_work(tmp_path: Path) -> None:
    root = tiny_store(tmp_path).store.root
    if run_on_read_only(root, "true").returncode:
        pytest.skip("no folder can be mounted read-only here")

    command = run_on_read_only(root, *words_of(tmp_path, root))

    assert command.returncode == 1
    assert "Read-only file system" in command.stderr.splitlines()[-1]
    assert "Traceback" not in command.stderr
    assert not (tmp_path / "run" / "build").exists()


def test_a_disk_without_room_is_one_line_before_any_work(tmp_path: Path) -> None:
    root = tiny_store(tmp_path).store.root
    (tmp_path / "run").mkdir()
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
    unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path / "run")]
    if subprocess.run([*unshared, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")

    command = subprocess.run(
        [*unshared, *words_of(tmp_path, root)], env=os.environ, capture_output=True, text=True, check=False
    )

    assert command.returncode == 1
    assert "are free there; --folder names another place" in command.stderr.splitlines()[-1]
    assert "Traceback" not in command.stderr


def test_documents_that_are_longer_than_the_model_reads_are_compressed(tmp_path: Path) -> None:
    # A model that learned one output is sure of it, on any CPU and in int8 too. A random model would write nothing.
    (tmp_path / "learned").mkdir()
    same = "Der alte Kapitän verkauft zwei schwere Bücher."
    lesson = written_rows(tmp_path / "lesson.jsonl", ((english, same) for english, _ in pairs(400)))
    source = taught_store(tmp_path / "learned", lesson) / TASK / "learned"
    context = tiny_import(
        tmp_path, source, Task.SUMMARIZATION, languages=["en"], max_new_tokens=12, max_input_tokens=40, export=True
    )
    # Each has about 300 words, and the model reads 40 tokens.
    rows = [english for english, _ in pairs(1800)]
    documents = [" ".join(rows[place : place + 8]) for place in range(0, 1800, 8)]
    texts = tmp_path / "documents.txt"
    texts.write_text("".join(f"{document}\n" for document in documents), encoding="utf-8")
    own = ("--store", context.store.root, "--folder", tmp_path / "run", "--within", "2m", "--keep", "0.01", "--json")

    command = invoked("compress", "summarization/original", "--unlabelled", texts, *own)

    assert command.code == 0, command.error
    assert command.json["chosen"] in context.store.variants(Task.SUMMARIZATION)
