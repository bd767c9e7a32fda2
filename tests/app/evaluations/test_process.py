import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from slimseq.app.errors import EvaluationEnded, InternalError
from slimseq.app.evaluations import process as evaluation_process
from slimseq.app.evaluations.process import EvaluationOrder, EvaluationProcess, line_of
from slimseq.models_store.errors import BadSignature, CorruptArtifact
from slimseq.models_store.manifest import Task
from slimseq.models_store.signing import TrustedKeys, sign
from slimseq.models_store.store import Store
from tests.models_store.test_signing import keys

ORDER = EvaluationOrder("quality", "store", None, "translation", {"original": "onnxruntime"}, {}, "pairs", 1, True, {})
SAMPLE = line_of({"sample": ["a", "b"]})

Put = Callable[[str], None]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a program in the place of the one that evaluates; `read` is what it was told."""

    def program(text: str) -> None:
        begin = "import os, sys, time\nread = [sys.stdin.buffer.readline() for _ in range(3)]\n"
        monkeypatch.setattr(evaluation_process, "COMMAND", (sys.executable, "-c", begin + text))

    return program


def run(process: EvaluationProcess, on_message: Callable[[Any], None] = lambda _: None) -> Any:
    return process.run([ORDER.line(), SAMPLE], on_message)


def test_a_process_is_told_its_order_and_its_samples_and_says_how_far_it_is(put: Put, tmp_path: Path) -> None:
    put(
        f"open({str(tmp_path / 'told')!r}, 'wb').write(b''.join(read)); "
        'print(\'{"progress": 0.5}\'); print(\'{"result": {"evaluated": 1}}\')'
    )
    told: list[object] = []

    result = run(EvaluationProcess(), told.append)

    line, sample, end, _ = (tmp_path / "told").read_bytes().split(b"\n")
    assert (EvaluationOrder.of_line(line), sample + b"\n", end) == (ORDER, SAMPLE, b"")
    assert told == [{"progress": 0.5}] and result == {"evaluated": 1}


def test_a_process_that_ends_without_a_result_failed(put: Put) -> None:
    put("print('{\"progress\": 0.5}')")

    with pytest.raises(EvaluationEnded, match="exit code 0"):
        run(EvaluationProcess())


def test_a_process_that_runs_is_killed_from_another_thread(put: Put) -> None:
    put("print('{\"progress\": 0.5}', flush=True); time.sleep(600)")
    process, has_begun = EvaluationProcess(), threading.Event()

    def kill_once_begun() -> None:
        has_begun.wait(60)
        process.kill()

    threading.Thread(target=kill_once_begun).start()

    with pytest.raises(EvaluationEnded, match="killed"):
        run(process, lambda _: has_begun.set())


def test_a_process_that_was_killed_before_its_start_does_not_start(put: Put, tmp_path: Path) -> None:
    put(f"open({str(tmp_path / 'started')!r}, 'w')")
    process = EvaluationProcess()

    process.kill()
    with pytest.raises(EvaluationEnded, match="not started"):
        run(process)

    time.sleep(0.2)
    assert not (tmp_path / "started").exists()


def test_a_process_that_ends_by_itself_without_a_result_is_said_to_have(put: Put) -> None:
    put("sys.exit(3)")

    with pytest.raises(EvaluationEnded, match="exit code 3"):
        run(EvaluationProcess())


def test_an_error_of_ours_is_the_same_here_as_there(put: Put) -> None:
    put("""print('{"error": "CorruptArtifact", "detail": "a file is missing"}')""")

    with pytest.raises(CorruptArtifact, match=r"^a file is missing$"):
        run(EvaluationProcess())


def test_an_unexpected_error_stays_in_the_log(put: Put, caplog: pytest.LogCaptureFixture) -> None:
    put("""print('{"crash": "Traceback: a secret path"}')""")

    with caplog.at_level(logging.ERROR), pytest.raises(InternalError) as raised:
        run(EvaluationProcess())

    assert "secret" not in str(raised.value)
    assert [vars(record)["exception"] for record in caplog.records] == ["Traceback: a secret path"]


@pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="other systems have no such scheduling")
def test_a_process_gives_way_to_all_others(put: Put) -> None:
    put("print('{\"progress\": 0.5}', flush=True); time.sleep(600)")
    process = EvaluationProcess()
    seen: list[tuple[int, int, str]] = []

    def look(_: object) -> None:
        [child] = [each for each in psutil.Process().children() if "time.sleep(600)" in each.cmdline()[-1]]
        score = Path(f"/proc/{child.pid}/oom_score_adj").read_text(encoding="ascii").strip()
        seen.append((child.nice(), os.sched_getscheduler(child.pid), score))
        process.kill()

    with pytest.raises(EvaluationEnded):
        run(process, look)

    assert seen == [(19, os.SCHED_IDLE, "1000")]


def test_an_evaluation_opens_only_what_a_trusted_key_signed(own_store: Store, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours")
    order = replace(ORDER, store=str(own_store.root), trusted_keys=TrustedKeys.read([public]).pems)

    with pytest.raises(BadSignature, match="translation/original is not signed"):
        EvaluationProcess().run([order.line(), SAMPLE], lambda _: None)
    sign(own_store, Task.TRANSLATION, "original", private)
    result = EvaluationProcess().run([order.line(), SAMPLE], lambda _: None)

    assert result["evaluated"] == 1


def test_an_evaluation_says_what_a_variant_keeps_of_short_and_of_long_sentences(embedded: Store) -> None:
    short = ["The dog is barking.", "Der Hund bellt im Garten."]
    long = ["We walked along the river until it was dark.", "Wir gingen am Fluss entlang, bis es dunkel war."]
    pairs = [short, long] * 50
    outputs = [
        {"variant": name, "sample": number, "seconds": 0.1, "score": 50.0, "text": text, "finish_reason": "eos"}
        | {"input_tokens": 9, "output_tokens": 9, "truncated": False, "lost": []}
        for number, (_, target) in enumerate(pairs)
        for name, text in (("original", target), ("quantized", target.replace("bis es dunkel", "bis das hell")))
    ]
    runtimes = dict.fromkeys(("original", "quantized"), "onnxruntime")
    references = dict.fromkeys(runtimes, "original")
    order = replace(ORDER, store=str(embedded.root), runtimes=runtimes, references=references, samples=100)
    lines = [*(line_of({"sample": pair}) for pair in pairs), *(line_of({"output": output}) for output in outputs)]

    result = EvaluationProcess().run([order.line(), *lines], lambda _: None)

    original, quantized = result["results"]
    kept = {each["name"]: each["retention"] for each in quantized["slices"] if each["dimension"] == "length"}
    assert original["slices"] == []
    assert list(kept) == ["4 words", "9 words"]
    assert kept["4 words"] == 1.0 and kept["9 words"] < 0.8
