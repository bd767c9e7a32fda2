"""Measurements are added to manifests: what they replace, and what stays."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slimseq.evaluation.recording import add_scores, with_newest
from slimseq.evaluation.retention import least_agreement, recorded_scores
from slimseq.models_store.derived import read_derived
from slimseq.models_store.files import write_manifest
from slimseq.models_store.manifest import Task
from slimseq.models_store.measurements import QualityScore
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.evaluation.conftest import artifact_manifest
from tests.measured import score
from tests.models_store.test_manifest import calibrated


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    with store.writing(Task.TRANSLATION, "original") as folder:
        write_manifest(folder, artifact_manifest())
    return store


def test_a_new_measurement_replaces_the_one_it_repeats_and_no_other(store: Store) -> None:
    others = [score(50.0, metric="chrf"), score(21.0, runtime="onnxruntime"), score(23.0, samples=10)]
    add_scores(store, artifact_manifest(), [score(20.0), *others])

    add_scores(store, artifact_manifest(), [score(22.0)])

    assert store.manifest(Task.TRANSLATION, "original").quality == [*others, score(22.0)]


def test_of_two_processes_that_record_at_once_neither_loses_what_the_other_adds(store: Store) -> None:
    manifest, both_came = artifact_manifest(), threading.Barrier(2)

    def add(samples: int) -> None:
        both_came.wait()
        for runtime in range(10):
            add_scores(store, manifest, [score(20.0, runtime=str(runtime), samples=samples)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add, (10, 20)))

    assert len(store.manifest(Task.TRANSLATION, "original").quality) == 20


def test_of_two_calibrations_of_the_same_files_the_newer_counts() -> None:
    bare = artifact_manifest()
    older, newer = (
        bare.model_copy(update={"confidence": calibrated([(-1.0, 0.5)], measured_at=date)})
        for date in ("2026-11-01", "2026-11-02")
    )

    assert with_newest(older, newer).confidence == newer.confidence
    assert with_newest(newer, older).confidence == newer.confidence
    assert with_newest(bare, older).confidence == older.confidence
    assert with_newest(older, bare).confidence == older.confidence
    assert with_newest(bare, bare).confidence is None


def test_figures_of_different_files_are_not_joined() -> None:
    other = artifact_manifest().model_copy(update={"digest": f"sha256:{'1' * 64}"})

    with pytest.raises(ValueError, match="are of different files: their figures cannot be joined"):
        with_newest(artifact_manifest(), other)


@pytest.mark.parametrize("task", Task)
def test_agreement_is_recorded_for_each_embedded_variant_so_that_the_alert_can_fire(task: Task) -> None:
    """Of `quantized` and `compact` for the bytes of at least one kind of CPU."""
    root = embedded_store()
    manifests = [Store(root).manifest(task, name) for name in ("original", "pruned", "distilled")]

    found = [each for each in (*manifests, *read_derived(root, task)) if least_agreement(each, manifests)]

    names = {each.variant.removeprefix("portuguese-") for each in found}
    assert names == {"pruned", "distilled", "quantized", "compact"}


def test_a_retention_relative_to_another_reference_is_not_shown() -> None:
    manifest = artifact_manifest()
    old = score(20.0, reference=f"sha256:{'1' * 64}", retention=0.95)
    own = score(20.0, reference=manifest.digest, retention=0.95, dataset="news")
    manifest = manifest.model_copy(update={"quality": [old, own]})

    found = recorded_scores(manifest, [manifest])

    assert [(each.dataset, each.retention) for each in found] == [("sample", None), ("news", 0.95)]


def test_a_score_of_an_earlier_version_is_read_without_its_further_fields() -> None:
    assert QualityScore.model_validate(score(20.0).model_dump() | {"slices": []}) == score(20.0)
