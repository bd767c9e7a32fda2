"""When the catalogue sees changes of the store."""

from pathlib import Path

import pytest

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.models_store.errors import UnknownVariant
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put


def test_a_new_artifact_is_found_at_once_and_a_removed_one_is_gone_after_a_moment(tmp_path: Path) -> None:
    now_seconds = 0.0
    store = Store(put(tmp_path, manifest(variant="original")))
    catalogue = Catalogue(store, clock=lambda: now_seconds)
    assert catalogue.names(Task.TRANSLATION) == ["original"]

    put(tmp_path, manifest(variant="pruned"))
    assert catalogue.manifest(Task.TRANSLATION, "pruned").variant == "pruned"

    (tmp_path / "translation" / "original" / "manifest.json").unlink()
    # Above `FRESH_SECONDS`.
    now_seconds = 2.0
    with pytest.raises(UnknownVariant, match="it has pruned"):
        catalogue.entry(Task.TRANSLATION, "original")
