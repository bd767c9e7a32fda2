"""Every way to write an artifact, on a disk without room for it: one line that names the place, and nothing left."""

from pathlib import Path

import pytest

from slimseq.compression.context import Context
from slimseq.models_store.manifest import Task
from tests.command_line import compression, compression_without_room
from tests.compression.tiny import tiny_file
from tests.damage import contents

# A limit on file size stands in for the full disk. Manifests and configurations fit, weights do not. In bytes.
GREATEST_FILE = 30_000

RECIPE = "name: small\ntask: translation\nbase: {keep: true}\nvariants: {made: {steps: [quantize]}}\n"
COMMANDS = (
    "quantize translation original --name made",
    "quantize translation original --name made --scheme ctranslate2-int8",
    "prune translation original --name made --feed-forward 0.9 --max-steps 0 --data {data}",
    "export translation original --format onnx",
    "import {folder}/store/translation/original --task translation --name made",
    "build {folder}/small.yaml --build-folder {folder}/work",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_artifact_without_room_is_an_error_of_one_line_and_leaves_nothing(
    context: Context, tmp_path: Path, command: str
) -> None:
    data = tiny_file(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    before = contents(context.store.root)

    words = command.format(folder=tmp_path, data=data).split()
    finished = compression_without_room(GREATEST_FILE, *words, "--store", context.store.root)

    last = finished.error.splitlines()[-1]
    assert finished.code == 1
    assert last.startswith("error: ")
    assert "File too large" in last
    assert "Traceback" not in finished.error
    assert contents(context.store.root) == before


def test_a_checkpoint_without_room_is_one_line_and_the_run_can_start_again(context: Context, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run"
    arguments: list[object] = ["distill", Task.TRANSLATION, "original", "--name", "made", "--data", tiny_file(tmp_path)]
    arguments += ["--tokens-per-batch", 64, "--checkpoint", checkpoint, "--checkpoint-seconds", 0]
    arguments += ["--store", context.store.root]

    finished = compression_without_room(GREATEST_FILE, *arguments, "--max-steps", 4)

    assert finished.code == 1
    assert finished.error.splitlines()[-1] == f"error: {checkpoint} cannot be written: File too large"

    # The disk has room again.
    again = compression(*arguments, "--max-steps", 4)
    assert again.code == 0, again.error
