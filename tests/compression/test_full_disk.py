"""Every way to write an artifact, on a disk without room for it: one line that names the place, and nothing left."""

from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.models_store.manifest import Task
from tests.command_line import compression, compression_without_room
from tests.compression.tiny import tiny_artifact, tiny_context, tiny_file
from tests.damage import contents
from tests.families import Family

# Manifests and configurations fit, weights don't.
GREATEST_FILE = 30_000


@pytest.fixture
def context(tmp_path: Path) -> Context:
    context = tiny_context(tmp_path)
    tiny_artifact(context, Family.BART, tmp_path)
    return context


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("quantize", ["--name", "made"]),
        ("quantize", ["--name", "made", "--scheme", "ctranslate2-int8"]),
        ("prune", ["--name", "made", "--feed-forward", 0.9, "--max-steps", 0, "--data", "DATA"]),
        ("export", ["--format", "onnx"]),
    ],
)
def test_an_artifact_without_room_is_one_line_and_leaves_nothing(
    context: Context, tmp_path: Path, verb: str, options: list[object]
) -> None:
    data = tiny_file(tmp_path)
    before = contents(context.store.root)
    given = [data if option == "DATA" else option for option in options]

    finished = compression_without_room(
        GREATEST_FILE, verb, Task.TRANSLATION, "original", *given, "--store", context.store.root
    )

    lines = finished.error.splitlines()
    assert finished.code == 1
    assert lines[-1].startswith("error: translation/") and "File too large" in lines[-1]
    assert "Traceback" not in finished.error
    assert contents(context.store.root) == before


def test_a_checkpoint_without_room_is_one_line_and_keeps_the_one_before(context: Context, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run"
    arguments: list[object] = ["distill", Task.TRANSLATION, "original", "--name", "made", "--data", tiny_file(tmp_path)]
    arguments += ["--tokens-per-batch", 64, "--checkpoint", checkpoint, "--checkpoint-seconds", 0]
    arguments += ["--store", context.store.root]

    finished = compression_without_room(GREATEST_FILE, *arguments, "--max-steps", 4)

    assert finished.code == 1
    assert finished.error.splitlines()[-1] == f"error: {checkpoint} cannot be written: File too large"
    again = compression(*arguments, "--max-steps", 4)
    assert again.code == 0, again.error


def test_an_import_and_a_build_without_room_are_one_line_and_leave_the_store_as_it_was(
    context: Context, tmp_path: Path
) -> None:
    model, recipe = context.store.folder(Task.TRANSLATION, "original"), tmp_path / "small.yaml"
    recipe.write_text("name: small\ntask: translation\nbase: {keep: true}\nvariants: {made: {steps: [quantize]}}\n")
    before = contents(context.store.root)
    store = ("--store", context.store.root)

    imported = compression_without_room(
        GREATEST_FILE, "import", model, "--task", "translation", "--name", "made", *store
    )
    built = compression_without_room(GREATEST_FILE, "build", recipe, "--build-folder", tmp_path / "work", *store)

    for finished in (imported, built):
        assert finished.code == 1
        assert finished.error.splitlines()[-1].startswith("error: ") and "File too large" in finished.error
        assert "Traceback" not in finished.error
    assert contents(context.store.root) == before
