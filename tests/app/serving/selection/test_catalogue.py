from pathlib import Path

import pytest

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.models_store.errors import InvalidArtifact, UnknownVariant
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put

TRANSLATION = Task.TRANSLATION


def catalogue(root: Path, clock: list[float] | None = None) -> Catalogue:
    now = clock or [0.0]
    return Catalogue(Store(root), None, lambda: now[0])


def test_a_new_artifact_is_found_at_once_and_a_removed_one_is_gone_after_a_moment(tmp_path: Path) -> None:
    clock = [0.0]
    known = catalogue(put(tmp_path, manifest(variant="original")), clock=clock)
    assert known.names(TRANSLATION) == ["original"]

    put(tmp_path, manifest(variant="pruned"))
    assert known.manifest(TRANSLATION, "pruned").variant == "pruned"

    (tmp_path / "translation" / "original" / "manifest.json").unlink()
    clock[0] = 2.0
    with pytest.raises(UnknownVariant, match="it has pruned"):
        known.entry(TRANSLATION, "original")


def test_an_unreadable_manifest_is_listed_and_raises_when_it_is_needed(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="original"))
    (store / "translation" / "original" / "manifest.json").write_text("{")

    assert catalogue(store).entry(TRANSLATION, "original").manifest is None
    with pytest.raises(InvalidArtifact, match=r"manifest\.json"):
        catalogue(store).manifest(TRANSLATION, "original")
