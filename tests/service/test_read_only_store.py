"""A read-only store where nothing was prepared: variants that can serve do, and the others say what to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimseq.models_store.store import Store
from tests.service.client import Service, eventually
from tests.service.conftest import needs_torch, running_service

TEXT = {"text": "Good morning."}
# Mounts the store (`$0`) read-only in a namespace of its own, and becomes the command.
BIND = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", BIND)
# Takes from root the right to ignore the modes of files and folders.
NO_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture
def unprepared(embedded: Store, tmp_path: Path) -> Path:
    """A store as a fresh clone has it: safetensors, and of int8 variants the manifests alone."""
    root = tmp_path / "store"
    for entry in embedded.scan():
        assert entry.manifest is not None
        folder = root / entry.task / entry.variant
        folder.mkdir(parents=True)
        is_whole = entry.manifest.has_format("safetensors")
        for path in entry.folder.iterdir() if is_whole else [entry.folder / "manifest.json"]:
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    return root


def python_behind(tmp_path: Path, *command: object) -> Path:
    """Writes a script that starts Python behind a command, such as `unshare`. Returns the script's path."""
    if subprocess.run([*map(str, command), "true"], capture_output=True).returncode:
        pytest.skip(f"{command[0]} cannot be used here")
    script = tmp_path / "python"
    words = " ".join(f"'{word}'" for word in (*command, sys.executable))
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    return script


def by_name(service: Service) -> dict[str, dict[str, object]]:
    listed = service.get("/variants").json["variants"]
    return {f"{each['task']}/{each['variant']}": each for each in listed}


@needs_torch
def test_the_default_falls_back_and_the_others_say_what_mends_them(unprepared: Path, tmp_path: Path, log: Path) -> None:
    python = python_behind(tmp_path, *UNSHARE, unprepared)
    before = sorted(unprepared.rglob("*"))
    command = "`slimseq prepare --store STORE` where the store is writable"
    with running_service(log, python=python, store=unprepared) as service:
        variants = by_name(service)
        unnamed = service.post("/translate", TEXT)
        named = service.post("/translate?variant=quantized", TEXT)
        on_onnx = service.post("/translate?variant=original&runtime=onnxruntime", TEXT)
        compared = service.post("/compare?task=translation&variant=original&variant=quantized", TEXT).json

    assert variants["translation/quantized"]["status"] == variants["translation/compact"]["status"] == "broken"
    assert command in str(variants["translation/quantized"]["error"])
    assert [name for name, each in variants.items() if each["default"]] == [
        "summarization/original",
        "translation/original",
    ]
    assert variants["translation/original"]["status"] == "loaded"
    assert variants["translation/pruned"]["status"] == "available"
    assert variants["translation/original"]["runtime"] == "torch"
    assert (unnamed.status, unnamed.json["variant"]) == (200, "original")
    for refused in (named, on_onnx):
        assert (refused.status, refused.problem.type) == (503, "/problems/unprepared"), refused.text
        assert command in refused.problem.detail
    assert compared["results"][0]["variant"] == "original"
    assert command in compared["results"][1]["error"]["detail"]
    assert sorted(unprepared.rglob("*")) == before


def test_where_nothing_can_serve_it_is_not_ready_and_says_the_same_everywhere(
    unprepared: Path, tmp_path: Path, log: Path
) -> None:
    python = python_behind(tmp_path, *NO_OVERRIDE)
    for folder in (unprepared, *unprepared.glob("*"), *unprepared.glob("*/*")):
        folder.chmod(0o555)
    command = "`slimseq prepare --store STORE` where the store is writable"
    with running_service(log, python=python, waits=False, store=unprepared, runtime="onnxruntime") as service:
        refused = service.post("/translate", TEXT)
        readiness = eventually(lambda: service.get("/readyz"), lambda found: "loading" not in found.problem.detail)
        variants = by_name(service)

    assert refused.status == readiness.status == 503
    assert command in refused.problem.detail
    assert command in readiness.problem.detail
    assert {each["status"] for each in variants.values()} == {"broken"}
    onnx = [each for name, each in variants.items() if name != "translation/compact"]
    assert all(command in str(each["error"]) for each in onnx)


def test_a_fresh_clone_that_may_be_written_serves_and_takes_what_is_prepared_meanwhile(
    unprepared: Path, embedded: Store, log: Path
) -> None:
    with running_service(log, store=unprepared) as service:
        before = service.post("/translate", TEXT)
        for name in ("translation/quantized", "summarization/quantized"):
            shutil.copytree(embedded.root / name, unprepared / name, dirs_exist_ok=True)
        assert eventually(lambda: bool(by_name(service)["translation/quantized"]["default"]), seconds=30)
        after = service.post("/translate", TEXT)

    assert (before.status, before.json["variant"], before.json["runtime"]) == (200, "original", "onnxruntime")
    assert (after.status, after.json["variant"]) == (200, "quantized")
