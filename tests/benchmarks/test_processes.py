"""How many cores one process can use, with a tiny model whose kernels sleep."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import main
from benchmarks.systems.sleeping_kernels import KernelTimes
from slimseq.models_store.store import Store
from tests.compression.tiny import tiny_store
from tests.families import Family

# It starts servers.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tiny_store(tmp_path_factory.mktemp("store"), Family.T5).store


def run(store: Store, file: Path, *options: str) -> dict[str, Any]:
    words = ["--store", str(store.root), "--variant", "original", "--json", str(file), "--seconds", "0.7"]
    main([*words, "--tokens", "4", "8", "--beams", "1", "--rows", "2", *options])
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_a_request_has_its_share_of_a_step_and_its_own_tokens_in_the_encoder() -> None:
    times = KernelTimes(encoder_token=0.001, step=0.02, row=0.005)

    # Ten steps of 0.02 + 8 x 0.005 s, which four inputs share.
    assert times.request(input_tokens=10, steps=10, rows=8, inputs=4) == pytest.approx(0.01 + 10 * 0.06 / 4)
    assert times.times(2).request(10, 10, 8, 4) == pytest.approx(2 * (0.01 + 10 * 0.06 / 4))


def test_sleeping_kernels_take_their_time_and_workers_answer_more_together(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(store, tmp_path / "processes.json", "--workers", "1", "4", "--slower", "300", "--seconds", "2")

    one, four = (each["figures"] for each in found["workers"])
    printed = capsys.readouterr().out
    assert one["errors"] == four["errors"] == 0
    # A worker has two requests: it cannot answer faster than its kernels.
    assert one["requests_per_second"] <= 1.2 / found["kernel_seconds"]
    assert four["requests_per_second"] > 1.3 * one["requests_per_second"]
    assert all(each["cpu_seconds"] > 0 for each in found["workers"])
    assert "| workers | requests/s |" in printed and "| 4 | " in printed


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_processes_behind_one_port_are_compared(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--workers", "1", "--slower", "200", "--processes", "2", "--front-workers", "1")
    found = run(store, tmp_path / "processes.json", *options)

    loads = found["fronts"]["loads"]
    assert [each["front"] for each in loads] == ["one process", "nginx", "shared port"]
    assert all(each["figures"]["answered"] and not each["figures"]["errors"] for each in loads)
    assert "| nginx | " in capsys.readouterr().out


def test_more_clients_than_nginx_allows_of_an_address_are_refused(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="nginx allows 64"):
        run(store, tmp_path / "processes.json", "--workers", "1", "--processes", "20", "--front-workers", "4")
