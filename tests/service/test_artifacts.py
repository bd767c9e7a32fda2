import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.damage import flip_bytes
from tests.service.client import Service
from tests.service.conftest import ended_start, environment_with, running_service

TEXT = {"text": "Good morning."}


def test_a_tampered_artifact_is_refused_and_the_others_serve(store: Path, log: Path) -> None:
    flip_bytes(store / "translation" / "quantized" / "onnx" / "decoder.onnx")
    with running_service(log, store=store) as service:
        service.wait_until_ready()

        refused = service.post("/translate?variant=quantized", TEXT)
        served = service.post("/translate?variant=original", TEXT)
        summarized = service.post("/summarize", TEXT)
        retaining = service.post("/translate?min_retention=0.9", TEXT)
        compared = service.post("/compare?task=translation&variant=original&variant=quantized", TEXT)
        listed = service.get("/variants/translation/quantized").json
        metrics = service.get("/metrics").text

    assert refused.status == 503 and "onnx/decoder.onnx" in refused.problem.detail
    assert refused.problem.type == "/problems/corrupt-artifact"
    assert served.status == summarized.status == compared.status == 200
    assert (retaining.status, retaining.json["variant"]) == (200, "original")
    assert "outputs" in compared.json["results"][0]
    assert compared.json["results"][1]["variant"] == "quantized"
    assert compared.json["results"][1]["error"]["status"] == 503
    assert listed["status"] == "broken" and "decoder.onnx" in listed["error"]
    failed = 'slimseq_variant_load_failed{task="translation",variant="%s"} %.1f'
    assert failed % ("quantized", 1) in metrics and failed % ("original", 0) in metrics


def test_a_half_written_artifact_is_refused_and_serves_once_it_is_whole(store: Path, log: Path) -> None:
    decoder = store / "translation" / "quantized" / "onnx" / "decoder.onnx"
    whole = decoder.read_bytes()
    decoder.write_bytes(whole[:1000])
    with running_service(log, store=store, preload="summarization/quantized") as service:
        half = service.post("/translate?variant=quantized", TEXT)
        decoder.unlink()
        missing = service.post("/translate?variant=quantized", TEXT)
        decoder.write_bytes(whole)
        served = service.post("/translate?variant=quantized", TEXT)

    assert half.status == 503 and "decoder.onnx has 1000 bytes" in half.problem.detail
    assert missing.status == 503 and "decoder.onnx is missing" in missing.problem.detail
    assert served.status == 200


def test_where_the_usual_default_does_not_open_the_next_best_answers(store: Path, log: Path) -> None:
    encoder = store / "translation" / "quantized" / "onnx" / "encoder.onnx"
    # Another task is opened at the start: the first request is the first to find out.
    with running_service(log, store=store, preload="summarization/quantized") as service:
        service.wait_until_ready()
        flip_bytes(encoder)
        unnamed = [service.post("/translate", TEXT), service.post("/translate", {**TEXT, "stream": True})]
        named = service.post("/translate?variant=quantized", TEXT)
        readiness = service.get("/readyz")
        listed = service.get("/variants").json["variants"]

    assert [answer.status for answer in (*unnamed, readiness)] == [200, 200, 200]
    assert unnamed[0].json["variant"] == unnamed[1].events[-1][1]["variant"] == "original"
    assert named.status == 503 and "encoder.onnx" in named.problem.detail
    states = {each["variant"]: (each["status"], each["default"]) for each in listed if each["task"] == "translation"}
    assert states == {"original": ("loaded", True), "quantized": ("broken", False)}


def test_the_operators_own_default_does_not_fall_back(store: Path, log: Path) -> None:
    flip_bytes(store / "translation" / "quantized" / "onnx" / "encoder.onnx")
    with running_service(log, store=store, default_translation="quantized") as service:
        service.wait_until_ready()

        refused = service.post("/translate", TEXT)

    assert refused.status == 503 and "encoder.onnx" in refused.problem.detail


def test_the_service_is_not_ready_where_no_variant_opens(store: Path, log: Path) -> None:
    for path in store.glob("*/*/tokenizer.json"):
        flip_bytes(path)
    with running_service(log, store=store) as service:
        refused = [service.post(path, TEXT) for path in ("/translate", "/summarize", "/translate?variant=original")]
        readiness = service.get("/readyz")
        health = service.get("/healthz")

    assert [answer.status for answer in refused] == [503, 503, 503]
    assert readiness.status == 503 and "tokenizer.json" in readiness.problem.detail
    assert health.status == 200


def empty_the_manifest(folder: Path, _: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def name_another(folder: Path, _: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"variant": "other"}))


def link_out(folder: Path, outside: Path) -> None:
    shutil.move(folder, outside)
    folder.symlink_to(outside)


def add_a_file(folder: Path, _: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (empty_the_manifest, "manifest.json"),
        (name_another, "belongs to translation/other and is in translation/quantized"),
        (link_out, "translation/quantized/manifest.json is behind a link that leads out of the store"),
        (add_a_file, "adapter_config.json is not in its list of files"),
    ],
)
def test_what_is_not_listed_or_not_where_it_says_is_not_served(
    store: Path, tmp_path: Path, log: Path, damage: Callable[[Path, Path], None], said: str
) -> None:
    damage(store / "translation" / "quantized", tmp_path / "outside")
    with running_service(log, store=store) as service:
        service.wait_until_ready()
        refused = service.post("/translate?variant=quantized", TEXT)
        served = service.post("/translate", TEXT)
        listed = service.get("/variants/translation/quantized").json

    assert refused.status == 503 and said in refused.problem.detail
    assert listed["status"] == "broken" and said in listed["error"] and not listed["default"]
    assert (served.status, served.json["variant"]) == (200, "original")


def test_a_missing_or_empty_store_ends_the_start_with_one_line(tmp_path: Path) -> None:
    for store, said in ((tmp_path / "nowhere", "there is no store"), (tmp_path, "is empty")):
        ended = ended_start(store=store)

        assert ended.returncode == 1
        assert said in ended.stderr and ended.stderr.count("\n") == 1
        assert "SLIMSEQ_STORE" in ended.stderr and "slimseq import" in ended.stderr


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"port": 99999}, "port: should be less than or equal to 65535"),
        ({"threds": 2}, "SLIMSEQ_THREDS is not a setting; did you mean SLIMSEQ_THREADS?"),
    ],
)
@pytest.mark.parametrize("command", ["slimseq.app", "slimseq.app.healthcheck"])
def test_a_senseless_setting_ends_the_start_with_one_line(command: str, setting: dict[str, int], said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", command],
        env=environment_with(**setting),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert said in ended.stderr and ended.stderr.count("\n") == 1


def test_a_port_in_use_ends_the_start_with_one_line(embedded: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = ended_start(store=embedded.root, port=port)

    assert ended.returncode == 3
    assert ended.stderr == (
        f"error: 127.0.0.1:{port}: Address already in use; choose another: --port or --host "
        f"(SLIMSEQ_PORT, SLIMSEQ_HOST), or make run PORT={port + 1}\n"
    )


def test_the_module_starts_no_service_where_it_is_given_options(embedded: Store) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "slimseq.app", "--help"],
        env=environment_with(store=embedded.root),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ") and "slimseq serve --help" in ended.stderr


def test_the_service_ends_cleanly(embedded: Store, log: Path) -> None:
    with running_service(log, store=embedded.root) as service:
        assert isinstance(service, Service)
        service.wait_until_ready()

    lines = log.read_text()
    assert "Application shutdown complete" in lines and "Traceback" not in lines
