"""What `/variants` and `/quality` show: agreement, base model, speed, retention, and why a variant is left out."""

import asyncio
from pathlib import Path
from typing import Any

from slimseq.app.observability.live_agreement import AgreementMonitor, ComparedArtifacts
from slimseq.app.variants.inventory import Inventory
from slimseq.app.variants.schemas import VariantSummary
from slimseq.evaluation.agreement import OutputAgreement
from slimseq.evaluation.host import cpu_flags, host_name
from slimseq.models_store.derived import record_derived
from slimseq.models_store.manifest import Check, Manifest, Reference, Task, Verdict, digest_of
from slimseq.models_store.measurements import MeanAgreement
from slimseq.models_store.speeds import write_speeds
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put, score, variant_of
from tests.app.serving.parts import parts_of
from tests.measured import performance


def agreement(similarity: float) -> MeanAgreement:
    return MeanAgreement(exact=0.5, similarity=similarity, interval=(similarity - 0.1, 1.0), metric="chrf")


def test_agreement_is_the_least_that_the_manifest_records_beside_that_of_live_requests(tmp_path: Path) -> None:
    scores = [
        score(0.97, dataset=dataset).model_copy(update={"agreement": agreement(similarity)})
        for dataset, similarity in (("sample", 0.9), ("news", 0.8))
    ]
    measured = variant_of(manifest(), "quantized", "quantize", quality=scores)
    parts = parts_of(Store(put(tmp_path, manifest(), measured)))
    live = AgreementMonitor()
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


def inventory_of(root: Path) -> Inventory:
    parts = parts_of(Store(root))
    return Inventory(parts.chooser, parts.pool, "1.2.3", AgreementMonitor(), {})


def summaries(root: Path) -> dict[str, VariantSummary]:
    return {each.variant: each for each in inventory_of(root).variants().variants}


# Fields of measurements on this machine, and on another one.
HERE: dict[str, Any] = {"host": host_name(), "cpu_flags": cpu_flags()}
FAR: dict[str, Any] = {"host": "AMD EPYC, 2 cores", "cpu_flags": ["avx512_vnni"], "batch": 16}


def measured_store(root: Path) -> tuple[Manifest, Manifest]:
    """Makes a store with `original` and `small`, of which another machine measured 500 and 4000 tokens a second."""
    original = manifest(performance=[performance(500, **FAR)])
    quality = [score(0.97, dataset="news", samples=500)]
    small = variant_of(original, "small", performance=[performance(4000, **FAR)], quality=quality)
    put(root, original, small)
    return original, small


def test_without_figures_of_this_machine_the_published_ones_are_shown_and_their_machine(tmp_path: Path) -> None:
    measured_store(tmp_path)

    small = summaries(tmp_path)["small"]

    assert small.speed is not None and small.published is None
    assert (small.speed.speed_up, small.speed.base_tokens_per_second, small.speed.batch) == (8.0, 500, 16)
    assert (small.speed.machine, small.speed.is_here) == ("AMD EPYC, 2 cores (avx512_vnni)", False)
    assert small.quality is not None and small.quality.retention is not None
    assert (small.quality.retention.value, small.quality.retention.dataset) == (0.97, "news")


def test_figures_of_this_machine_are_shown_together_with_the_published_ones(tmp_path: Path) -> None:
    original, small = measured_store(tmp_path)
    base = {"reference": original.digest, "reference_tokens_per_second": 100.0}
    local = {original.digest: [performance(100, **HERE, **base)], small.digest: [performance(300, **HERE, **base)]}
    write_speeds(tmp_path, Task.TRANSLATION, local)

    found = summaries(tmp_path)["small"]

    assert found.speed is not None and found.published is not None and found.published.speed is not None
    assert (found.speed.speed_up, found.speed.is_here) == (3.0, True)
    assert (found.published.speed.speed_up, found.published.speed.is_here) == (8.0, False)
    assert found.published.is_same


def test_published_figures_of_other_files_are_marked_as_such(tmp_path: Path) -> None:
    original, small = measured_store(tmp_path)
    published = small.model_copy(update={"quality": [score(0.994, dataset="news", samples=500)]})
    files = [each.model_copy(update={"sha256": "1" * 64}) for each in small.files]
    made_here = small.model_copy(
        update={"files": files, "digest": digest_of(files), "performance": [performance(6759, **HERE)]}
    )
    put(tmp_path, made_here)
    record_derived(tmp_path, Task.TRANSLATION, [published], [original, made_here])

    found = summaries(tmp_path)["small"]

    # The variant was measured here and its base model was not: 6759 / 500 would compare two machines.
    assert found.speed is None and found.published is not None and found.published.speed is not None
    assert (found.published.speed.speed_up, found.published.is_same) == (8.0, False)
    assert found.published.retention is not None and found.published.retention.value == 0.994


def test_a_variant_that_limits_cannot_compare_says_why(tmp_path: Path) -> None:
    original, _ = measured_store(tmp_path)
    check = Check(name="retention of bleu on news", value=0.5, limit=0.9, is_passed=False)
    others = [
        variant_of(original, "untimed", quality=[score(0.99, dataset="news")]),
        variant_of(original, "unscored", performance=[performance(700, **FAR)]),
        variant_of(original, "rejected", gate=Verdict(status="rejected", checks=[check])),
    ]
    put(tmp_path, *others)

    found = {name: each.left_out for name, each in summaries(tmp_path).items()}

    assert found == {
        "original": None,
        "small": None,
        "untimed": "its speed was not measured beside that of the others",
        "unscored": "its retention was not measured",
        "rejected": "its gate rejected it",
    }


def test_the_retention_is_of_the_metric_that_the_gates_judge_and_warns_of_a_useless_base_model(tmp_path: Path) -> None:
    check = Check(name="retention of chrf on news", value=8.174, limit=0.9, is_passed=True)
    quality = [
        score(0.93, dataset="news"),
        score(8.174, dataset="news", metric="chrf", baseline=12.0),
    ]
    put(tmp_path, manifest(), variant_of(manifest(), "random", quality=quality, gate=verdict_of(check)))

    [random] = [each for each in inventory_of(tmp_path).quality().qualities if each.variant == "random"]

    assert random.retention is not None and random.retention.warning is not None
    assert (random.retention.metric, random.retention.value) == ("chrf", 8.174)
    assert random.retention.warning.startswith("original has 2.45 of chrf on news, no more than the trivial baseline")


def verdict_of(*checks: Check) -> Verdict:
    return Verdict(status="passed", checks=list(checks))


def test_figures_are_computed_again_once_the_store_changes(tmp_path: Path) -> None:
    measured_store(tmp_path)
    parts = parts_of(Store(tmp_path))
    inventory = Inventory(parts.chooser, parts.pool, "1.2.3", AgreementMonitor(), {})
    before = inventory.variant(Task.TRANSLATION, "small")

    put(tmp_path, variant_of(manifest(), "small", quality=[score(0.5, dataset="news")]))
    asyncio.run(parts.catalogue.refresh())
    after = inventory.variant(Task.TRANSLATION, "small")

    assert before.quality is not None and before.quality.retention is not None
    assert after.quality is not None and after.quality.retention is not None
    assert (before.quality.retention.value, after.quality.retention.value) == (0.97, 0.5)
