"""The process that answers requests again, with the embedded models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimseq.app.shadowing.process import Shadow, ShadowFailed, ShadowProcess
from slimseq.evaluation.agreement import Agreement
from slimseq.inference.text.plan import Prompt
from slimseq.models_store.manifest import Task
from slimseq.models_store.signing import TrustedKeys
from slimseq.models_store.store import Store
from tests.models_store.test_signing import keys


def real(store: Store, text: str, output: str, **changes: Any) -> Shadow:
    """A request that `translation/quantized` of a real store answered."""
    reference = store.manifest(Task.TRANSLATION, "original")
    fields: dict[str, Any] = {
        "store": str(store.root),
        "trusted_keys": None,
        "task": Task.TRANSLATION,
        "variant": "quantized",
        "digest": "sha256:" + "0" * 64,
        "reference": "original",
        "reference_digest": reference.digest,
        "runtime": "onnxruntime",
        "prompt": Prompt([text]),
        "outputs": [output],
    }
    return Shadow(**fields | changes)


@pytest.fixture
def process() -> Iterator[ShadowProcess]:
    process = ShadowProcess()
    yield process
    process.close()


def test_the_process_answers_again_and_compares(embedded: Store, process: ShadowProcess) -> None:
    [exact] = process.answer(real(embedded, "The sun is shining.", "Die Sonne scheint."))
    [near] = process.answer(real(embedded, "The sun is shining.", "Die Sonne schien."))
    [stopped] = process.answer(
        real(embedded, "The sun is shining.", "Die", prompt=Prompt(["The sun is shining."], stop=("Sonne",)))
    )

    assert exact == Agreement(is_exact=True, similarity=1.0)
    assert not near.is_exact and 0.5 < near.similarity < 1
    assert stopped.is_exact


def test_a_killed_process_fails_its_request_and_the_next_request_starts_another(
    embedded: Store, process: ShadowProcess
) -> None:
    request = real(embedded, "The sun is shining.", "Die Sonne scheint.")
    process.answer(request)
    assert process._process is not None
    process._process.kill()

    with pytest.raises(ShadowFailed, match="translation/original ended") as failed:
        process.answer(request)

    assert failed.value.is_lasting and not process.is_running
    assert process.answer(request) == [Agreement(is_exact=True, similarity=1.0)]


def test_options_that_only_the_variant_supports_fail_that_request_only(embedded: Store, process: ShadowProcess) -> None:
    beyond = real(embedded, "The sun is shining.", "", prompt=Prompt(["The sun is shining."], {"top_k": 10**6}))

    with pytest.raises(ShadowFailed, match="InvalidOptions") as failed:
        process.answer(beyond)

    assert not failed.value.is_lasting and process.is_running


def test_a_reference_that_was_replaced_meanwhile_is_not_compared_with(embedded: Store, process: ShadowProcess) -> None:
    other = real(embedded, "The sun is shining.", "", reference_digest="sha256:" + "1" * 64)

    with pytest.raises(ShadowFailed, match="InvalidArtifact") as failed:
        process.answer(other)

    assert failed.value.is_lasting


def test_a_closed_process_is_not_started_again(embedded: Store) -> None:
    process = ShadowProcess()
    process.close()

    with pytest.raises(ShadowFailed, match="stopping"):
        process.answer(real(embedded, "The sun is shining.", ""))

    assert not process.is_running


def test_a_reference_that_no_trusted_key_signed_does_not_answer(
    embedded: Store, process: ShadowProcess, tmp_path: Path
) -> None:
    _, public = keys(tmp_path, "ours")
    unsigned = real(embedded, "The sun is shining.", "", trusted_keys=TrustedKeys.read([public]).pems)

    with pytest.raises(ShadowFailed, match="BadSignature") as failed:
        process.answer(unsigned)

    assert failed.value.is_lasting
