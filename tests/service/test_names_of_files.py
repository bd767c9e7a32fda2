"""What is wrong with an artifact is said, and no error or log says where the store is on its machine."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from slimseq.models_store.files import read_manifest, write_manifest
from slimseq.models_store.store import Store
from tests.damage import flip_bytes, forge
from tests.service.client import Response, Service
from tests.service.conftest import running_service

TEXT = {"text": "Good morning."}


def link_out(folder: Path) -> None:
    outside = folder.parents[2] / "outside"
    shutil.move(folder / "tokenizer.json", outside)
    (folder / "tokenizer.json").symlink_to(outside)


def put_a_folder_for_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()


def list_no_format(folder: Path) -> None:
    manifest = read_manifest(folder)
    write_manifest(
        folder, manifest.model_copy(update={"size": manifest.size.model_copy(update={"bytes_by_format": {}})})
    )


def link_the_folder_out(folder: Path) -> None:
    outside = folder.parents[2] / "outside-folder"
    shutil.move(folder, outside)
    folder.symlink_to(outside)


# How an artifact is damaged, and what is said about it. Some of it nothing but a library finds.
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "absent": (lambda folder: (folder / "onnx" / "decoder.onnx").unlink(), "decoder.onnx is missing"),
    "absent-tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
    "changed": (lambda folder: flip_bytes(folder / "onnx" / "decoder.onnx"), "decoder.onnx"),
    "cut": (lambda folder: (folder / "onnx" / "decoder.onnx").write_bytes(b"cut"), "decoder.onnx has 3 bytes"),
    "added": (lambda folder: (folder / "vocab.json").write_text("{}"), "vocab.json is not in its list of files"),
    "linked": (link_out, "tokenizer.json"),
    "linked-folder": (link_the_folder_out, "manifest.json is behind a link that leads out of the store"),
    "other-name": (lambda folder: rename_in_manifest(folder, "other"), "belongs to translation/other and is in"),
    "no-manifest": (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
    "empty-manifest": (lambda folder: (folder / "manifest.json").write_text("{}"), "manifest.json"),
    "folder-as-manifest": (put_a_folder_for_the_manifest, "manifest.json"),
    "no-format": (list_no_format, ""),
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
    assert len(refused) > 4 * len(DAMAGES) - 10, len(refused)
    for name, (_, said) in DAMAGES.items():
        refusal = views[name][0]
        assert refusal.status == 503 and said in refusal.problem.detail, name
        assert listed[name]["status"] == "broken" and said in listed[name]["error"], name
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
    shutil.rmtree(
        own_store.folder(read_manifest(own_store.root / "translation" / "original").task, "original") / "onnx"
    )
    with running_service(
        log,
        store=own_store.root,
        prefix=("prlimit", "--fsize=1000000"),
        runtime="onnxruntime",
        preload="summarization/quantized",
    ) as service:
        refused = service.post("/translate?variant=original", TEXT)

    assert refused.status == 503 and "onnx cannot be written: File too large" in refused.problem.detail
    assert str(own_store.root) not in refused.text and tempfile.gettempdir() not in refused.text
