from pathlib import Path

from slimseq.app.observability.agreement import AgreementMonitor, ComparedArtifacts
from slimseq.app.variants.inventory import Inventory
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.models_store.manifest import Reference, Task
from slimseq.models_store.measurements import MeanAgreement
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, score, variant_of
from tests.app.serving.parts import parts_of


def agreement(similarity: float) -> MeanAgreement:
    return MeanAgreement(exact=0.5, similarity=similarity, interval=(similarity - 0.1, 1.0), metric="chrf")


def test_agreement_is_the_least_that_the_manifest_records_beside_that_of_live_requests(tmp_path: Path) -> None:
    scores = [
        score(0.97, dataset=dataset).model_copy(update={"agreement": agreement(similarity)})
        for dataset, similarity in (("sample", 0.9), ("news", 0.8))
    ]
    measured = variant_of(manifest(), "quantized", "quantize", quality=scores)
    parts, live = parts_of(Store(put(tmp_path, manifest(), measured))), AgreementMonitor()
    compared = ComparedArtifacts(Task.TRANSLATION, measured.digest, manifest().digest)
    live.record(compared, [OutputAgreement(is_exact=True, similarity=1.0)] * 50)

    report = Inventory(parts.chooser, parts.pool, "1.2.3", live, {}).quality()

    original, quantized = report.qualities
    assert quantized.agreement is not None and quantized.live_agreement is not None
    assert (quantized.agreement.similarity, quantized.agreement.dataset) == (0.8, "news")
    assert (quantized.live_agreement.outputs, quantized.live_agreement.exact) == (50, 1.0)
    assert 0.7 < quantized.live_agreement.interval[0] < quantized.live_agreement.interval[1] == 1.0
    assert (original.agreement, original.live_agreement) == (None, None)


def test_a_variant_whose_base_model_is_gone_says_so(tmp_path: Path) -> None:
    opus = manifest(variant="opus")
    recorded = Reference(variant="opus", digest=opus.digest)
    parts = parts_of(Store(put(tmp_path, variant_of(opus, "opus-int8", reference=recorded))))

    [found] = Inventory(parts.chooser, parts.pool, "1.2.3", AgreementMonitor(), {}).variants().variants

    assert found.reference is not None
    assert (found.reference.variant, found.reference.digest, found.reference.is_stored) == ("opus", opus.digest, False)
