"""The process of shadowing, with the embedded models: what it compares, and how it fails."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slimseq.app.low_priority import LowPriorityProcess, store_address
from slimseq.app.shadowing.child import Shadow
from slimseq.app.shadowing.shadowing import CHILD, ShadowFailed, answer_again
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from slimseq.models_store.trusted_keys import TrustedKeys
from tests.models_store.test_signing import keys


def shadow_of(store: Store, text: str, output: str, **changes: Any) -> Shadow:
    """Returns a text that `translation/quantized` has answered with `output`, for the reference `original`."""
    reference = store.manifest(Task.TRANSLATION, "original")
    fields: dict[str, Any] = {
        "store": store_address(store),
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


@pytest.fixture(scope="module")
def process() -> Iterator[LowPriorityProcess]:
    process = LowPriorityProcess(CHILD)
    yield process
    process.end()


def test_the_process_compares_and_where_it_is_killed_the_next_request_starts_another(
    embedded: Store, process: LowPriorityProcess
) -> None:
    prompt = Prompt(["The sun is shining."], stop=("Sonne",))
    request = shadow_of(embedded, "The sun is shining.", "Die Sonne scheint.")
    [near] = answer_again(process, shadow_of(embedded, "The sun is shining.", "Die Sonne schien."))
    [stopped] = answer_again(process, shadow_of(embedded, "The sun is shining.", "Die", prompt=prompt))
    assert process._process is not None
    process._process.kill()

    with pytest.raises(ShadowFailed, match="translation/original ended"):
        answer_again(process, request)

    assert not near.is_exact and 0.5 < near.similarity < 1
    assert stopped.is_exact
    assert process._process is None
    assert answer_again(process, request) == [OutputAgreement(is_exact=True, similarity=1.0)]


def test_options_that_only_the_variant_supports_fail_that_request_only(
    embedded: Store, process: LowPriorityProcess
) -> None:
    beyond = shadow_of(embedded, "The sun is shining.", "", prompt=Prompt(["The sun is shining."], {"top_k": 10**6}))

    with pytest.raises(ShadowFailed, match="InvalidOptions"):
        answer_again(process, beyond)

    assert process._process is not None


def test_a_reference_that_was_replaced_meanwhile_is_not_compared_with(
    embedded: Store, process: LowPriorityProcess
) -> None:
    other = shadow_of(embedded, "The sun is shining.", "", reference_digest="sha256:" + "1" * 64)

    with pytest.raises(ShadowFailed, match="InvalidArtifact"):
        answer_again(process, other)


def test_a_reference_that_no_trusted_key_signed_does_not_answer(
    embedded: Store, process: LowPriorityProcess, tmp_path: Path
) -> None:
    _, public = keys(tmp_path, "ours")
    trusting = store_address(Store(embedded.root, TrustedKeys.read([public])))
    unsigned = replace(shadow_of(embedded, "The sun is shining.", ""), store=trusting)
    # A service trusts the same keys as long as it runs.
    process.end()

    with pytest.raises(ShadowFailed, match="BadSignature"):
        answer_again(process, unsigned)
