"""A service that serves only what a trusted key signed."""

import shutil
import time
from pathlib import Path

import pytest

from slimseq.models_store.signing import sign
from slimseq.models_store.store import Store
from tests.damage import forge
from tests.models_store.test_signing import keys
from tests.service.client import Response, Service, eventually
from tests.service.conftest import running_service

TEXT = {"text": "Good morning."}
# The service looks at its store anew after a second.
FRESH_SECONDS = 1.5
NOT_SIGNED = "translation/quantized is not signed"
OTHER_FILES = "translation/quantized: the signature is not valid: it is of other files"


@pytest.fixture
def signed(own_store: Store, tmp_path: Path) -> tuple[Path, Path]:
    """The folder of a store whose artifacts are all signed, and the folder of the trusted key."""
    private, public = keys(tmp_path, "ours")
    for entry in own_store.scan():
        sign(own_store, entry.task, entry.variant, private)
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    public.rename(trusted / public.name)
    return own_store.root, trusted


def assert_refused(service: Service, said: str) -> None:
    """Asserts that `translation/quantized` is not served, for this reason, and all others are."""
    refused = service.post("/translate?variant=quantized", TEXT)
    listed = service.get("/variants/translation/quantized").json
    others = [
        service.post(path, TEXT) for path in ("/translate", "/translate?variant=original", "/summarize", "/summarize")
    ]

    assert refused.status == 503, refused.text
    assert refused.problem.type == "/problems/bad-signature", refused.text
    assert refused.problem.detail == said
    assert (listed["status"], listed["error"], listed["default"]) == ("broken", said, False)
    assert [answer.status for answer in others] == [200] * 4
    assert others[0].json["variant"] == "original"


def test_what_no_trusted_key_signed_is_not_served_and_the_others_are(signed: tuple[Path, Path], log: Path) -> None:
    store, trusted = signed
    folder = store / "translation" / "quantized"
    with running_service(log, store=store, trusted_keys=trusted) as service:
        before = service.post("/translate?variant=quantized", TEXT)
        shutil.copytree(folder, store / "kept")
        forge(folder, "config.json", (folder / "config.json").read_bytes() + b"\n")
        wait_until_listed(service, "broken")
        assert_refused(service, OTHER_FILES)
        (folder / "model.sig").unlink()
        time.sleep(FRESH_SECONDS)
        assert_refused(service, NOT_SIGNED)
        shutil.rmtree(folder)
        (store / "kept").rename(folder)
        wait_until_listed(service, "loaded")
        after = service.post("/translate?variant=quantized", TEXT)

    assert before.status == after.status == 200
    assert before.json["outputs"] == after.json["outputs"]


def test_what_was_derived_on_this_machine_has_to_be_signed_too(signed: tuple[Path, Path], log: Path) -> None:
    store, trusted = signed
    (store / "translation" / "original" / "onnx" / "model.sig").unlink()
    shutil.rmtree(store / "summarization" / "original" / "onnx")
    with running_service(log, store=store, trusted_keys=trusted, runtime="onnxruntime") as service:
        unsigned = service.post("/translate?variant=original", TEXT)
        unbuilt = service.post("/summarize?variant=original", TEXT)
        served = [service.post(path, TEXT).status for path in ("/translate", "/summarize")]

    assert (unsigned.status, unbuilt.status, served) == (503, 503, [200, 200])
    assert unsigned.problem.detail == "translation/original/onnx is not signed"
    assert "its onnx files are not built; run `slimseq prepare`" in unbuilt.problem.detail
    assert not (store / "summarization" / "original" / "onnx").exists()


def test_without_the_key_nothing_of_its_owner_is_served(signed: tuple[Path, Path], tmp_path: Path, log: Path) -> None:
    store, trusted = signed
    _, stranger = keys(tmp_path, "theirs")
    for key in trusted.iterdir():
        key.unlink()
    shutil.copy(stranger, trusted)
    with running_service(log, waits=False, store=store, trusted_keys=trusted) as service:
        answers: list[Response] = [service.post(path, TEXT) for path in ("/translate", "/summarize")]
        readiness = eventually(lambda: service.get("/readyz"), lambda found: "loading" not in found.problem.detail)
        health = service.get("/healthz")

    assert [answer.problem.type for answer in answers] == ["/problems/bad-signature"] * 2
    assert readiness.status == 503
    assert "not of a trusted key" in readiness.problem.detail
    assert health.status == 200


def wait_until_listed(service: Service, status: str) -> None:
    """Waits until the service has seen what changed in the store, a second later."""
    assert eventually(lambda: bool(service.get("/variants/translation/quantized").json["status"] == status))
