"""Nothing leaves the machine: the service, the commands and the Python API look up no host name and connect to nobody.

They also leave no file in the home folder, except the database of the service. The first tests show that the recorder
(`tests/outward.py`) would see it.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimseq.models_store.places import embedded_store
from tests.outward import Outward, needs_compiler
from tests.places import ONE_TRANSLATOR
from tests.service.client import Service, eventually
from tests.service.conftest import free_port

pytestmark = needs_compiler

# The telemetry of ONNX Runtime looks up its collector about ten seconds after the import of the library.
UPLOAD_SECONDS = 15.0
# How long an evaluation or a shadow request, which run in processes of low priority, may take on a busy machine.
LOW_PRIORITY_SECONDS = 240.0
STORE = ("--store", str(ONE_TRANSLATOR))
PAIRS = [
    {"source": "Good morning.", "target": "Guten Morgen."},
    {"source": "The dog sleeps.", "target": "Der Hund schläft."},
]
TRANSLATOR = embedded_store() / "translation" / "original"
PYTHON_API = f"""
from slimseq.inference import load, pipeline
with load({str(TRANSLATOR.with_name("quantized"))!r}) as model:
    print(model.generate(["Good morning."])[0].text)
print(pipeline("translation", {str(TRANSLATOR)!r})("Good morning."))
"""
# Uses ONNX Runtime without the switch that turns its telemetry off.
WITH_TELEMETRY = f"""
import onnxruntime, time
onnxruntime.InferenceSession({str(TRANSLATOR.with_name("quantized") / "onnx" / "encoder.onnx")!r})
time.sleep({UPLOAD_SECONDS})
"""


@pytest.fixture
def outward(tmp_path: Path) -> Outward:
    return Outward(tmp_path)


@contextlib.contextmanager
def serving(outward: Outward, log: Path) -> Iterator[Service]:
    """Runs `slimseq serve` as a stranger does, with every request shadowed. Its database is in the home folder."""
    port = free_port()
    settings = {"SLIMSEQ_STORE": str(ONE_TRANSLATOR), "SLIMSEQ_PORT": str(port), "SLIMSEQ_SHADOW_SHARE": "1"}
    words = [sys.executable, "-m", "slimseq", "serve"]
    with log.open("ab") as output:
        process = subprocess.Popen(words, env=outward.environment | settings, stdout=output, stderr=output)
    service = Service(port, process)
    try:
        service.wait_until_answering()
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


def live_agreement(service: Service) -> object:
    [found] = service.get("/quality?task=translation&variant=quantized").json["qualities"]
    return found["live_agreement"]


def test_the_recorder_sees_the_telemetry_of_onnx_runtime_where_it_is_not_turned_off(outward: Outward) -> None:
    ran = outward.run("-c", WITH_TELEMETRY)

    assert ran.returncode == 0, ran.stderr
    if not outward.files:
        pytest.skip("this release of ONNX Runtime has no telemetry")
    assert outward.targets


def test_the_recorder_sees_the_names_and_files_of_child_processes_too(outward: Outward) -> None:
    lookup = "import socket, pathlib; pathlib.Path.home().joinpath('left').touch(); socket.getaddrinfo('x.example', 1)"

    outward.run("-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {lookup!r}])")

    assert outward.targets == ["x.example"]
    assert outward.files == ["left"]


def test_a_service_and_its_child_processes_connect_to_nobody_and_leave_only_the_database(
    outward: Outward, log: Path
) -> None:
    started = time.monotonic()
    with serving(outward, log) as service:
        answers = [service.post(f"/{verb}", {"text": "Good morning."}) for verb in ("translate", "summarize")]
        body = {"task": "translation", "variants": ["quantized"], "pairs": PAIRS}
        location = service.post("/evaluations", body).headers["location"]
        job = eventually(
            lambda: service.get(location).json, lambda job: job["status"] == "succeeded", LOW_PRIORITY_SECONDS
        )
        agreement = eventually(lambda: live_agreement(service), seconds=LOW_PRIORITY_SECONDS)
        time.sleep(max(0.0, UPLOAD_SECONDS - (time.monotonic() - started)))

    assert [answer.status for answer in answers] == [200, 200]
    assert job["status"] == "succeeded"
    assert agreement
    assert outward.targets == []
    assert {Path(name).parts[:3] for name in outward.files} == {(".local", "state", "slimseq")}


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "slimseq", "evaluate", "translation", "quantized", "--samples", "2", "--workers", "2", *STORE),
        ("-m", "slimseq", "benchmark", "translation", "quantized", "--samples", "1", *STORE),
        ("-m", "benchmarks.faithful", "--sentences", "20", *STORE),
        ("-c", PYTHON_API),
    ],
    ids=["evaluate", "benchmark", "benchmarks", "Python"],
)
def test_a_command_or_program_connects_to_nobody_and_leaves_no_file(outward: Outward, words: tuple[str, ...]) -> None:
    ran = outward.run(*words)

    assert ran.returncode == 0, ran.stderr
    assert outward.targets == []
    assert outward.files == []


def test_import_and_compression_connect_to_nobody_and_leave_no_file(outward: Outward, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    store, data = tmp_path / "artifacts", tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS * 8), encoding="utf-8")
    steps = (
        ("import", TRANSLATOR, "--task", "translation", "--name", "original"),
        ("prune", "translation", "original", "--data", data, "--max-steps", "1"),
        ("quantize", "translation", "original"),
    )

    for step in steps:
        ran = outward.run("-m", "slimseq", *step, "--store", store)
        assert ran.returncode == 0, ran.stderr

    assert outward.targets == []
    assert outward.files == []
