"""SIGTERM and SIGINT: every accepted request gets an answer, and the process ends in time with exit code 0."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.service.conftest import free_port
from tests.service.raw import answer_of, connect, head
from tests.service.stopping import (
    DOCUMENT,
    GRACE_SECONDS,
    LONG,
    MILLION,
    PAIRS,
    QUICK,
    SENTENCE,
    ends_cleanly,
    stopping,
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_ends_soon(embedded: Store, log: Path, number: int) -> None:
    with stopping(embedded, log, shutdown_grace_seconds=30) as running, connect(running.service):
        seconds = running.stop(number)

    assert running.process.returncode == 0 and seconds < 10
    assert "by force" not in log.read_text()


@pytest.mark.parametrize("milliseconds", [50, 200, 500, 1500])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_starting_ends_at_once(embedded: Store, log: Path, number: int, milliseconds: int) -> None:
    command = [sys.executable, "-m", "slimseq", "serve", "--store", str(embedded.root), "--port", str(free_port())]
    with log.open("ab") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        # A machine under load may need longer than that until the interpreter runs any code of ours.
        while time.monotonic() < started + milliseconds / 1000 or not is_caught(signal.SIGTERM, process):
            assert process.poll() is None
            time.sleep(0.005)
        stopped = time.monotonic()
        process.send_signal(number)
        process.wait(timeout=60)
    finally:
        process.kill()

    assert process.returncode == 0 and time.monotonic() - stopped < GRACE_SECONDS + 1
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("module", [("slimseq", "serve"), ("slimseq.app",)], ids=" ".join)
def test_the_first_thing_that_a_service_does_is_to_listen_to_signals(
    embedded: Store, log: Path, module: tuple[str, ...]
) -> None:
    environment = {**os.environ, "SLIMSEQ_STORE": str(embedded.root), "SLIMSEQ_PORT": str(free_port())}
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-m", *module], env=environment, stdout=output, stderr=output)
    try:
        while not is_caught(signal.SIGTERM, process):
            assert process.poll() is None
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGSTOP)
        libraries = Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.kill()
        process.wait()

    assert "pydantic" not in libraries and "numpy" not in libraries


def is_caught(number: int, process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process has a handler for a signal."""
    [caught] = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("milliseconds", [20, 100, 200, 300, 400, 500])
def test_a_second_signal_keeps_the_exit_code(embedded: Store, log: Path, milliseconds: int) -> None:
    with stopping(embedded, log) as running:
        running.process.send_signal(signal.SIGTERM)
        time.sleep(milliseconds / 1000)
        seconds = running.stop()

    ends_cleanly(running, seconds)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/summarize", LONG),
        ("/translate", MILLION),
        ("/summarize", DOCUMENT),
        ("/compare?task=translation&variant=original&variant=quantized", LONG),
    ],
    ids=["generating", "tokenizing", "planning", "comparing"],
)
def test_requests_that_run_beyond_the_grace_are_answered_with_503(
    embedded: Store, log: Path, path: str, body: object
) -> None:
    with stopping(embedded, log) as running:
        asked = [running.ask(path, body) for _ in range(4)]
        time.sleep(0.5)
        seconds = running.stop()
        answers = [each.result() for each in asked]

    ends_cleanly(running, seconds)
    assert {answer.status for answer in answers} <= {200, 503}
    assert all(answer.problem.type == "/problems/shutting-down" for answer in answers if answer.status == 503)


def test_a_stream_that_runs_beyond_the_grace_ends_with_an_error_event(embedded: Store, log: Path) -> None:
    body = json.dumps({**LONG, "num_beams": 1, "min_new_tokens": 120, "stream": True}).encode()
    with stopping(embedded, log, shutdown_grace_seconds=0) as running, connect(running.service) as connection:
        connection.settimeout(60)
        asked = head("POST", "/summarize?variant=original", f"Content-Length: {len(body)}")
        connection.sendall(asked + body)
        received = b""
        while b"event: token" not in received:
            received += connection.recv(65536)
        seconds = running.stop()
        while more := connection.recv(65536):
            received += more

    ends_cleanly(running, seconds, grace=0)
    last = received.rpartition(b"event: ")[2]
    assert last.startswith(b"error") and b"/problems/shutting-down" in last


def test_an_evaluation_does_not_keep_the_process(embedded: Store, log: Path) -> None:
    with stopping(embedded, log) as running:
        posted = running.service.post(
            "/evaluations", {"task": "translation", "variants": ["original", "quantized"], "pairs": PAIRS}
        )
        time.sleep(1)
        asked = running.ask("/translate", QUICK)
        time.sleep(0.2)
        seconds = running.stop()

    ends_cleanly(running, seconds)
    assert posted.status == 202
    assert asked.result().status in (200, 503)


def test_a_request_that_ends_within_the_grace_gets_its_answer_and_the_process_ends_then(
    embedded: Store, log: Path
) -> None:
    with stopping(embedded, log, shutdown_grace_seconds=120) as running:
        asked = running.ask("/translate", {"text": [SENTENCE] * 32, "num_beams": 8})
        time.sleep(0.3)
        seconds = running.stop()

    assert running.process.returncode == 0 and seconds < 60
    assert asked.result().status == 200


@pytest.mark.parametrize(("first", "second"), [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT)])
def test_a_second_signal_ends_the_grace(embedded: Store, log: Path, first: int, second: int) -> None:
    with stopping(embedded, log, shutdown_grace_seconds=120) as running:
        asked = running.ask("/summarize", LONG)
        time.sleep(0.5)
        running.process.send_signal(first)
        time.sleep(0.5)
        is_running = running.process.poll() is None
        seconds = running.stop(second)

    assert is_running
    ends_cleanly(running, seconds, grace=0)
    assert asked.result().status == 503


def test_a_request_on_an_open_connection_is_answered_during_the_grace(embedded: Store, log: Path) -> None:
    body = json.dumps(QUICK).encode()
    with stopping(embedded, log, shutdown_grace_seconds=4) as running, connect(running.service) as kept:
        kept.sendall(head("GET", "/healthz"))
        before = answer_of(kept)
        asked = running.ask("/summarize", LONG)
        time.sleep(0.5)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        kept.sendall(head("POST", "/translate", f"Content-Length: {len(body)}") + body)
        during = answer_of(kept)
        running.process.wait(timeout=60)

    assert before.status == 200 and "connection" not in before.headers
    assert during.status in (200, 503) and during.headers["connection"] == "close"
    assert asked.result().status == 503 and running.process.returncode == 0


def test_a_client_that_reads_nothing_does_not_keep_the_process(embedded: Store, log: Path) -> None:
    with stopping(embedded, log) as running, connect(running.service) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        until = time.monotonic() + 5
        deaf.settimeout(1)
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                deaf.sendall(head("GET", "/openapi.json"))
                time.sleep(0.02)
        seconds = running.stop()

    ends_cleanly(running, seconds)


def test_a_body_that_never_ends_is_answered_at_the_end_of_the_grace(embedded: Store, log: Path) -> None:
    with stopping(embedded, log) as running, connect(running.service) as connection:
        connection.sendall(head("POST", "/translate", "Content-Length: 1000") + b'{"text":')
        time.sleep(0.3)
        seconds = running.stop()
        answer = answer_of(connection)

    ends_cleanly(running, seconds)
    assert answer.status == 503 and answer.problem.type == "/problems/shutting-down"
