"""Damaged artifacts, stores and ports: what is broken is refused and named, and the rest serves."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from slimseq.models_store.files import read_manifest, write_manifest
from slimseq.models_store.store import Store
from tests.damage import flip_bytes, forge
from tests.service.client import Response, Service
from tests.service.conftest import ended_start, environment_with, free_port, running_service

TEXT = {"text": "Good morning."}


def test_a_tampered_artifact_is_refused_and_the_others_serve(store: Path, log: Path) -> None:
    flip_bytes(store / "translation" / "quantized" / "onnx" / "decoder.onnx")
    with running_service(log, store=store) as service:
        refused = service.post("/translate?variant=quantized", TEXT)
        served = service.post("/translate?variant=original", TEXT)
        summarized = service.post("/summarize", TEXT)
        retaining = service.post("/translate?min_retention=0.9", TEXT)
        compared = service.post("/compare?task=translation&variant=original&variant=quantized", TEXT)
        listed = service.get("/variants/translation/quantized").json
        metrics = service.get("/metrics").text

    assert refused.status == 503
    assert "onnx/decoder.onnx" in refused.problem.detail
    assert refused.problem.type == "/problems/corrupt-artifact"
    assert served.status == summarized.status == compared.status == 200
    assert retaining.status == 200
    assert retaining.json["variant"] == "original"
    assert "outputs" in compared.json["results"][0]
    assert compared.json["results"][1]["variant"] == "quantized"
    assert compared.json["results"][1]["error"]["status"] == 503
    assert listed["status"] == "broken"
    assert "decoder.onnx" in listed["error"]
    failed = 'slimseq_variant_load_failed{task="translation",variant="%s"} %.1f'
    assert failed % ("quantized", 1) in metrics
    assert failed % ("original", 0) in metrics


def test_where_the_usual_default_does_not_open_the_next_best_answers(store: Path, log: Path) -> None:
    encoder = store / "translation" / "quantized" / "onnx" / "encoder.onnx"
    # Another task is opened at the start: the first request is the first to find out.
    with running_service(log, store=store, preload="summarization/quantized") as service:
        flip_bytes(encoder)
        unnamed = [service.post("/translate", TEXT), service.post("/translate", {**TEXT, "stream": True})]
        named = service.post("/translate?variant=quantized", TEXT)
        readiness = service.get("/readyz")
        listed = service.get("/variants").json["variants"]

    assert [answer.status for answer in (*unnamed, readiness)] == [200, 200, 200]
    assert unnamed[0].json["variant"] == unnamed[1].events[-1][1]["variant"] == "original"
    assert named.status == 503
    assert "encoder.onnx" in named.problem.detail
    states = {each["variant"]: (each["status"], each["default"]) for each in listed if each["task"] == "translation"}
    assert states == {"original": ("loaded", True), "quantized": ("broken", False)}


def test_the_operators_own_default_does_not_fall_back(store: Path, log: Path) -> None:
    flip_bytes(store / "translation" / "quantized" / "onnx" / "encoder.onnx")
    with running_service(log, store=store, default_translation="quantized") as service:
        refused = service.post("/translate", TEXT)

    assert refused.status == 503
    assert "encoder.onnx" in refused.problem.detail


def test_a_missing_or_empty_store_ends_the_start_with_one_line(tmp_path: Path) -> None:
    for store, said in ((tmp_path / "nowhere", "there is no store"), (tmp_path, "is empty")):
        ended = ended_start(store=store)

        assert ended.returncode == 1
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1
        assert "SLIMSEQ_STORE" in ended.stderr
        assert "slimseq import" in ended.stderr


def test_a_port_in_use_ends_the_start_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = ended_start(port=port)

    assert ended.returncode == 3
    assert ended.stderr == (
        f"error: 127.0.0.1:{port}: Address already in use; choose another: --port or --host "
        f"(SLIMSEQ_PORT, SLIMSEQ_HOST), or make run PORT={port + 1}\n"
    )


def test_the_module_starts_no_service_where_it_is_given_options() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "slimseq.app", "--help"],
        env=environment_with(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert "slimseq serve --help" in ended.stderr


def run_health_check(port: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "slimseq.app.healthcheck"],
        env=os.environ | {"SLIMSEQ_PORT": str(port)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_health_check_passes_for_a_ready_service(service: Service) -> None:
    assert run_health_check(service.port).returncode == 0


def test_the_health_check_fails_where_nothing_answers(service: Service) -> None:
    done = run_health_check(free_port())

    assert done.returncode == 1
    assert done.stderr.startswith("not ready: ")


def move_tokenizer_out(folder: Path) -> None:
    """Moves the tokenizer out of the store, and puts a link in its place."""
    outside = folder.parents[2] / "outside"
    shutil.move(folder / "tokenizer.json", outside)
    (folder / "tokenizer.json").symlink_to(outside)


def put_a_folder_for_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def remove_formats_from_manifest(folder: Path) -> None:
    manifest = read_manifest(folder)
    size = manifest.size.model_copy(update={"bytes_by_format": {}})
    write_manifest(folder, manifest.model_copy(update={"size": size}))


def move_folder_out(folder: Path) -> None:
    """Moves the artifact out of the store, and puts a link in its place."""
    outside = folder.parents[2] / "outside-folder"
    shutil.move(folder, outside)
    folder.symlink_to(outside)


# How an artifact is damaged, and what its error says. The text is empty where only a library finds the damage, and its
# words may change.
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda folder: (folder / "onnx" / "decoder.onnx").unlink(), "decoder.onnx is missing"),
    "changed": (lambda folder: flip_bytes(folder / "onnx" / "decoder.onnx"), "decoder.onnx"),
    "cut": (lambda folder: (folder / "onnx" / "decoder.onnx").write_bytes(b"cut"), "decoder.onnx has 3 bytes"),
    "added": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        "adapter_config.json is not in its list of files",
    ),
    "linked": (move_tokenizer_out, "tokenizer.json"),
    "linked-folder": (move_folder_out, "manifest.json is behind a link"),
    "other-name": (lambda folder: rename_in_manifest(folder, "other"), "belongs to translation/other and is in"),
    "no-manifest": (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
    "folder-as-manifest": (put_a_folder_for_the_manifest, "manifest.json"),
    "no-format": (remove_formats_from_manifest, ""),
    "unbuilt": (lambda folder: shutil.rmtree(folder / "onnx"), ""),
    "bad-export": (lambda folder: (folder / "onnx" / "export.json").write_text("{"), ""),
    "bad-configuration": (lambda folder: forge(folder, "config.json", b"{"), ""),
    "bad-tokenizer": (lambda folder: forge(folder, "tokenizer.json", b"{"), ""),
    "bad-decoder": (lambda folder: forge(folder, "onnx/decoder.onnx", b"nothing"), ""),
}


def rename_in_manifest(folder: Path, name: str) -> None:
    write_manifest(folder, read_manifest(folder).model_copy(update={"variant": name}))


def copy_as(store: Path, name: str) -> Path:
    """Copies `translation/quantized` under another name."""
    folder = store / "translation" / name
    shutil.copytree(store / "translation" / "quantized", folder)
    rename_in_manifest(folder, name)
    return folder


def every_view(service: Service, variant: str) -> list[Response]:
    """All answers in which an artifact's error appears."""
    query = f"?variant={variant}"
    return [
        service.post(f"/translate{query}", TEXT),
        service.post(f"/translate{query}&runtime=torch", TEXT),
        service.post(f"/translate{query}&runtime=ctranslate2", TEXT),
        service.post(f"/translate{query}", {**TEXT, "stream": True}),
        service.post(f"/compare?task=translation&variant=original&variant={variant}", TEXT),
        service.post(f"/variants/translation/{variant}/load", None, {"Authorization": "Bearer token"}),
        service.post("/evaluations", {"task": "translation", "variants": [variant], "dataset": "sample", "samples": 1}),
        service.get(f"/variants/translation/{variant}"),
        service.get(f"/quality?task=translation&variant={variant}"),
    ]


def test_an_error_of_an_artifact_names_its_file_and_not_where_the_store_is(store: Path, log: Path) -> None:
    for name, (damage, _) in DAMAGES.items():
        damage(copy_as(store, name))
    private = [str(store.parent), str(Path.home()), f"{tempfile.gettempdir()}/", str(Path(__file__).parents[2])]
    with running_service(log, store=store, admin_token="token") as service:
        views = {name: every_view(service, name) for name in DAMAGES}
        listed = {each["variant"]: each for each in service.get("/variants").json["variants"]}
        answers = [answer for view in views.values() for answer in view]
        answers += [service.get(path) for path in ("/variants", "/info", "/memory", "/quality", "/metrics")]

    refused = [answer for answer in answers if answer.status == 503]
    # Most damages are an error on each path that generates or loads.
    assert len(refused) > 4 * len(DAMAGES) - 10, len(refused)
    for name, (_, said) in DAMAGES.items():
        if not said:
            continue
        refusal = views[name][0]
        assert refusal.status == 503, (name, refusal.text)
        assert said in refusal.problem.detail, (name, refusal.text)
        assert listed[name]["status"] == "broken", (name, listed[name])
        assert said in listed[name]["error"], (name, listed[name])
    for answer in answers:
        assert not [place for place in private if place in answer.text], answer.text
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {each["artifact"] for each in lines if each["message"] == "variant cannot be loaded"} >= {
        "translation/changed",
        "translation/bad-tokenizer",
        "translation/bad-decoder",
    }
    [start] = [line for line in lines if any(place in json.dumps(line) for place in private)]
    assert (start["message"], start["store"]) == ("serving", str(store))


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit of util-linux")
def test_a_disk_that_is_full_does_not_say_where_it_is(own_store: Store, log: Path) -> None:
    shutil.rmtree(own_store.root / "translation" / "original" / "onnx")
    # No file may be larger than 1 MB.
    with running_service(
        log,
        store=own_store.root,
        prefix=("prlimit", "--fsize=1000000"),
        runtime="onnxruntime",
        preload="summarization/quantized",
    ) as service:
        refused = service.post("/translate?variant=original", TEXT)

    assert refused.status == 503
    assert "onnx cannot be written: File too large" in refused.problem.detail
    assert str(own_store.root) not in refused.text
    assert tempfile.gettempdir() not in refused.text
