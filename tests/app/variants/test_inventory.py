import asyncio
from pathlib import Path
from typing import Any

from slimseq.app.observability.agreement import AgreementMonitor, ComparedArtifacts
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.variants.inventory import Inventory, quality_of
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.models_store.manifest import Check, Reference, Task, Verdict
from slimseq.models_store.measurements import MeanAgreement
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, score, variant_of
from tests.app.serving.parts import parts_of


def agreement(similarity: float) -> MeanAgreement:
    return MeanAgreement(exact=0.5, similarity=similarity, interval=(similarity - 0.1, 1.0), metric="chrf")


def inventory_of(store: Store) -> tuple[Inventory, Pool]:
    parts = parts_of(store)
    return Inventory(parts.chooser, parts.pool, "1.2.3", AgreementMonitor()), parts.pool


def test_each_variant_says_whether_it_serves(own_store: Store) -> None:
    (own_store.folder(Task.SUMMARIZATION, "original") / "manifest.json").write_text("{}")

    async def run() -> dict[tuple[str, str], tuple[str, bool]]:
        inventory, pool = inventory_of(own_store)
        try:
            async with pool.lease(Task.TRANSLATION, "quantized"):
                pass
            listed = inventory.variants().variants
            memory = inventory.memory()
            assert [(each.task, each.variant) for each in memory.variants] == [(Task.TRANSLATION, "quantized")]
            return {(each.task.value, each.variant): (each.status, each.default) for each in listed}
        finally:
            await pool.close()

    assert asyncio.run(run()) == {
        ("summarization", "original"): ("broken", False),
        ("summarization", "quantized"): ("available", True),
        ("translation", "original"): ("available", False),
        ("translation", "quantized"): ("loaded", True),
    }


def test_a_variant_without_a_format_that_opens_here_is_broken(tmp_path: Path) -> None:
    alien = {"parameters": 1, "nonzero_parameters": 1, "bytes_by_format": {"alien": 5}}
    inventory, _ = inventory_of(Store(put(tmp_path, manifest(size=alien))))

    detail = inventory.variant(Task.TRANSLATION, "original")

    assert detail.status == "broken" and "no onnx or safetensors or ctranslate2 files" in (detail.error or "")
    assert detail.runtime is None and detail.bytes is None and detail.manifest is not None


def test_agreement_is_the_least_that_the_manifest_records_beside_that_of_live_requests(tmp_path: Path) -> None:
    scores = [
        score(0.97, dataset=dataset).model_copy(update={"agreement": agreement(similarity)})
        for dataset, similarity in (("sample", 0.9), ("news", 0.8))
    ]
    measured = variant_of(manifest(), "quantized", "quantize", quality=scores)
    parts, live = parts_of(Store(put(tmp_path, manifest(), measured))), AgreementMonitor()
    compared = ComparedArtifacts(Task.TRANSLATION, measured.digest, manifest().digest)
    live.record(compared, [OutputAgreement(is_exact=True, similarity=1.0)] * 50)

    report = Inventory(parts.chooser, parts.pool, "1.2.3", live).quality()

    original, quantized = report.qualities
    assert quantized.agreement is not None and quantized.live_agreement is not None
    assert (quantized.agreement.similarity, quantized.agreement.dataset) == (0.8, "news")
    assert (quantized.live_agreement.outputs, quantized.live_agreement.exact) == (50, 1.0)
    assert 0.7 < quantized.live_agreement.interval[0] < quantized.live_agreement.interval[1] == 1.0
    assert (original.agreement, original.live_agreement) == (None, None)


def test_the_gate_shown_is_the_one_that_the_manifest_keeps() -> None:
    passed = [Check(name="retention of bleu on sample", value=0.97, limit=0.95, is_passed=True)]
    failed = [Check(name="times smaller", value=1.5, limit=3.5, is_passed=False)]
    original = manifest()

    def shown(**more: Any) -> tuple[str, list[Check]]:
        variant = variant_of(original, "small", quality=[score(0.1)], **more)
        gate = quality_of(variant, [original, variant]).gate
        return gate.verdict, gate.checks

    assert shown(technique="quantize", gate=Verdict(status="passed", checks=passed)) == ("passed", passed)
    assert shown(gate=Verdict(status="rejected", checks=failed)) == ("rejected", failed)
    for technique in ("quantize", "prune", "distill"):
        assert shown(technique=technique) == ("none", [])
    assert quality_of(original, [original]).gate.verdict == "none"


def test_a_variant_whose_base_model_is_gone_says_so(tmp_path: Path) -> None:
    opus = manifest(variant="opus")
    recorded = Reference(variant="opus", digest=opus.digest)
    inventory, _ = inventory_of(Store(put(tmp_path, variant_of(opus, "opus-int8", reference=recorded))))

    [found] = inventory.variants().variants

    assert found.reference is not None
    assert (found.reference.variant, found.reference.digest, found.reference.is_stored) == ("opus", opus.digest, False)
