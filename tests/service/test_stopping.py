"""SIGTERM and SIGINT: every accepted request gets an answer, and the process ends in time with exit code 0."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.service.client import eventually
from tests.service.conftest import environment_with, free_port
from tests.service.raw import answer_of, connect, head, reads_nothing
from tests.service.stopping import DOCUMENT, GRACE_SECONDS, LONG, SENTENCE, ask, ends_cleanly, stopping

QUICK = {"text": "Good morning."}
PAIRS = [{"source": SENTENCE * 100, "target": "Wort " * 1200}] * 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_ends_soon(log: Path, number: int) -> None:
    with stopping(log, shutdown_grace_seconds=30) as service, connect(service):
        seconds = service.stop(number)

    assert service.process.poll() == 0
    assert seconds < 10
    assert "Application shutdown complete" in log.read_text()
    assert "by force" not in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("milliseconds", "number"),
    [(50, signal.SIGTERM), (1500, signal.SIGINT)],
    ids=["before the imports", "while models are loaded"],
)
def test_a_service_that_is_starting_ends_at_once(log: Path, number: int, milliseconds: int) -> None:
    started = time.monotonic()
    process = start_process(log, "slimseq", "serve")
    try:
        # Until the service has its handlers, a signal ends the interpreter. On a busy machine that takes longer.
        while time.monotonic() < started + milliseconds / 1000 or not is_caught(signal.SIGTERM, process):
            assert process.poll() is None
            time.sleep(0.005)
        stopped = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 0
    assert time.monotonic() - stopped < GRACE_SECONDS + 1
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("module", [("slimseq", "serve"), ("slimseq.app",)], ids=" ".join)
def test_the_first_thing_that_a_service_does_is_to_listen_to_signals(log: Path, module: tuple[str, ...]) -> None:
    process = start_process(log, *module)
    # At the lowest priority, the service cannot get far while this process waits for a core.
    os.setpriority(os.PRIO_PROCESS, process.pid, 19)
    try:
        while not is_caught(signal.SIGTERM, process):
            assert process.poll() is None
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGSTOP)
        libraries = Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.kill()
        process.wait()

    assert "pydantic" not in libraries
    assert "numpy" not in libraries


def start_process(log: Path, *module: str) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        command = [sys.executable, "-m", *module]
        return subprocess.Popen(command, env=environment_with(port=free_port()), stdout=output, stderr=output)


def is_caught(number: int, process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process has a handler for a signal."""
    # proc_pid_status(5): a mask in hexadecimal digits, in which signal 1 is the lowest bit.
    [mask] = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    bit_of_signal = 1 << (number - 1)
    return bool(int(mask, 16) & bit_of_signal)


def test_requests_that_run_beyond_the_grace_are_answered_with_503(log: Path) -> None:
    asked = {
        "generating": ("/summarize", LONG),
        "tokenizing": ("/translate", {"text": "á" * 500_000}),
        "planning": ("/summarize", DOCUMENT),
        "comparing": ("/compare?task=translation&variant=original&variant=quantized", LONG),
    }
    with stopping(log) as service, connect(service) as connection:
        posted = service.post("/evaluations", {"task": "translation", "variants": ["original"], "pairs": PAIRS})
        answers = {kind: [ask(service, *request) for _ in range(2)] for kind, request in asked.items()}
        # A body that never ends.
        connection.sendall(head("POST", "/translate", "Content-Length: 1000") + b'{"text":')
        time.sleep(0.5)
        seconds = service.stop()
        unfinished = answer_of(connection)

    ends_cleanly(service, seconds)
    assert posted.status == 202
    for kind, futures in answers.items():
        for answer in (each.result() for each in futures):
            assert answer.status in (200, 503), kind
            assert answer.status == 200 or answer.problem.type == "/problems/shutting-down", kind
    assert unfinished.status == 503
    assert unfinished.problem.type == "/problems/shutting-down"


def test_a_stream_that_runs_beyond_the_grace_ends_with_an_error_event(log: Path) -> None:
    body = json.dumps({**LONG, "num_beams": 1, "min_new_tokens": 120, "stream": True}).encode()
    with stopping(log, shutdown_grace_seconds=0) as service, connect(service, 60) as connection:
        asked = head("POST", "/summarize?variant=original", f"Content-Length: {len(body)}")
        connection.sendall(asked + body)
        received = b""
        while b"event: token" not in received:
            received += connection.recv(65536)
        seconds = service.stop()
        while more := connection.recv(65536):
            received += more

    ends_cleanly(service, seconds, grace=0)
    last = received.rpartition(b"event: ")[2]
    assert last.startswith(b"error")
    assert b"/problems/shutting-down" in last


@pytest.mark.parametrize(
    ("waits", "number"), [("shutdown_grace_seconds", signal.SIGTERM), ("drain_seconds", signal.SIGINT)]
)
def test_a_second_signal_ends_the_grace_and_the_drain(log: Path, waits: str, number: int) -> None:
    with stopping(log, **{waits: 120}) as service:
        asked = ask(service, "/summarize", LONG)
        time.sleep(0.5)
        service.process.send_signal(number)
        time.sleep(0.5)
        is_running = service.process.poll() is None
        seconds = service.stop(number)

    assert is_running
    ends_cleanly(service, seconds, 0 if waits == "shutdown_grace_seconds" else GRACE_SECONDS)
    assert asked.result().status == 503


def test_a_request_on_an_open_connection_is_answered_during_the_grace(log: Path) -> None:
    body = json.dumps(QUICK).encode()
    with stopping(log, shutdown_grace_seconds=3) as service, connect(service) as kept:

        def metrics() -> str:
            # On this connection, which an idle service closes after five seconds.
            kept.sendall(head("GET", "/metrics"))
            return answer_of(kept, "GET").text

        asked = ask(service, "/summarize", DOCUMENT)
        # Without a request that runs, the service would end at the signal, and close the connection.
        eventually(lambda: re.search(r"^slimseq_queue_rows\S* [1-9]", metrics(), re.M))
        kept.sendall(head("GET", "/healthz"))
        before = answer_of(kept)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        kept.sendall(head("POST", "/translate", f"Content-Length: {len(body)}") + body)
        during = answer_of(kept)
        service.process.wait(timeout=60)

    assert before.status == 200
    assert "connection" not in before.headers
    assert during.status in (200, 503)
    assert during.headers["connection"] == "close"
    assert asked.result().status == 503
    assert service.process.poll() == 0


def test_a_client_that_reads_nothing_does_not_keep_the_process(log: Path) -> None:
    with stopping(log) as service, connect(service, 1) as deaf:
        reads_nothing(deaf, 5)
        seconds = service.stop()

    ends_cleanly(service, seconds)
