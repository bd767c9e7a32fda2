import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from slimseq.compression.training.checkpoint import CURRENT
from tests.compression.tiny import tiny_tokenizer
from tests.compression.training.distributed_run import run
from tests.families import Family

STEPS = 8


def launch(tokenizer: Path, folder: Path, steps: int) -> list[str]:
    """Runs two processes over gloo, as `torchrun --nproc-per-node 2` does, and returns what each printed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        module = "tests.compression.training.distributed_run"
        command = [sys.executable, "-m", module, str(tokenizer), str(folder), str(steps)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    answers = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], [error.decode()[-2000:] for _, error in answers]
    return [output.decode() for output, _ in answers]


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_two_processes_take_the_steps_of_one_that_accumulates_two_batches_and_one_can_resume_them(
    tmp_path: Path,
) -> None:
    tokenizer = tiny_tokenizer(Family.T5, tmp_path / "tokenizer")
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(tokenizer, alone, STEPS, accumulation=2, distributed=False)

    printed = launch(tokenizer, together, STEPS // 2)
    run(tokenizer, together, STEPS, accumulation=2, distributed=False)

    assert ["went on" in text for text in printed] == [True, False]
    assert len(log(together)) == STEPS
    for expected, found in zip(log(alone), log(together), strict=True):
        assert found["tokens"] == expected["tokens"]
        for name in ("loss", "labels", "guided"):
            assert found[name] == pytest.approx(expected[name], rel=1e-4), (expected["step"], name)
    weights = load_file(together / CURRENT / "model.safetensors")
    for name, tensor in load_file(alone / CURRENT / "model.safetensors").items():
        assert float((weights[name] - tensor).abs().max()) < 1e-3, name
