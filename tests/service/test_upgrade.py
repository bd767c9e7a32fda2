"""A new artifact in the place of an old one, and the way back, as `docs/guides/operate.md` says."""

import shutil
import threading
import time
from pathlib import Path

from slimseq.app.serving.selection.catalogue import FRESH_SECONDS
from slimseq.models_store.files import read_manifest, write_manifest
from slimseq.models_store.store import Store
from tests.service.client import Response, Service
from tests.service.conftest import running_service

TEXT = {"text": "The children are playing in the garden."}
QUANTIZED = "/translate?variant=quantized"
ADMIN = {"Authorization": "Bearer token"}


def unload(service: Service) -> None:
    """Unloads the variant. Asks again while a request uses it."""
    answer = service.post("/variants/translation/quantized/unload", None, ADMIN)
    while answer.status == 409:
        answer = service.post("/variants/translation/quantized/unload", None, ADMIN)
    assert answer.status == 200, answer.text


def exchange(folder: Path, new: str, old: str) -> None:
    """Renames `folder` to `old`, and `new` to `folder`. Names that begin with a dot are hidden from the service."""
    folder.rename(folder.with_name(old))
    folder.with_name(new).rename(folder)


def test_an_artifact_is_replaced_and_restored_without_a_failed_request(embedded: Store, store: Path, log: Path) -> None:
    folder = store / "translation" / "quantized"
    coming = folder.with_name(".coming")
    shutil.copytree(embedded.root / "translation" / "compact", coming)
    write_manifest(coming, read_manifest(coming).model_copy(update={"variant": "quantized"}))
    old, new = read_manifest(folder).digest, read_manifest(coming).digest
    answers: list[Response] = []
    with running_service(log, store=store, admin_token="token") as service:
        has_ended = threading.Event()

        def ask() -> None:
            while not has_ended.is_set():
                answers.append(service.post(QUANTIZED, TEXT))

        client = threading.Thread(target=ask)
        client.start()
        try:
            # The old artifact is loaded by its first request.
            service.post(QUANTIZED, TEXT)
            exchange(folder, ".coming", ".kept")
            # The store is read again, and has no files for the runtime that serves.
            time.sleep(2 * FRESH_SECONDS)
            before_unload = service.post(QUANTIZED, TEXT)
            unload(service)
            upgraded = service.post(QUANTIZED, TEXT)
            exchange(folder, ".kept", ".coming")
            unload(service)
            restored = service.post(QUANTIZED, TEXT)
        finally:
            has_ended.set()
            client.join()
        listed = service.get("/variants/translation/quantized").json

    for answer, digest in ((before_unload, old), (upgraded, new), (restored, old)):
        assert answer.status == 200, answer.text
        assert answer.json["digest"] == digest
    assert (listed["digest"], listed["loaded_digest"]) == (old, old)
    assert {answer.status for answer in answers} == {200}, {answer.text for answer in answers if answer.status != 200}
    texts = {(answer.json["digest"], answer.json["outputs"][0]["text"]) for answer in answers}
    assert {digest for digest, _ in texts} == {old, new}
    assert len(texts) == 2
    assert restored.json["outputs"] == before_unload.json["outputs"]
