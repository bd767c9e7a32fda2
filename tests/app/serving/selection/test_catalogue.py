from pathlib import Path

import pytest

from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.models_store.errors import InvalidArtifact, UnknownVariant
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest, put

TRANSLATION = Task.TRANSLATION


def catalogue(root: Path, default: str | None = None, clock: list[float] | None = None) -> Catalogue:
    now = clock or [0.0]
    return Catalogue(Store(root), {TRANSLATION: default}, lambda: now[0])


def test_quantized_is_the_default_else_original_else_what_there_is(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="pruned"))
    assert catalogue(store).default(TRANSLATION) == "pruned"

    put(tmp_path, manifest(variant="original"))
    assert catalogue(store).default(TRANSLATION) == "original"

    put(tmp_path, manifest(variant="quantized"))
    assert catalogue(store).default(TRANSLATION) == "quantized"
    assert catalogue(store, default="pruned").default(TRANSLATION) == "pruned"


def test_a_language_pair_has_a_default_of_its_own(tmp_path: Path) -> None:
    store = put(
        tmp_path,
        manifest(variant="quantized"),
        manifest(variant="zz-french", languages=["en", "fr"]),
        manifest(variant="french", languages=["en", "fr"]),
    )

    assert catalogue(store).default(TRANSLATION, ("en", "de")) == "quantized"
    assert catalogue(store).default(TRANSLATION, ("en", "fr")) == "french"
    assert catalogue(store).find_default(TRANSLATION, ("fr", "en")) is None


def test_a_default_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    store = put(tmp_path, manifest(variant="original"))

    with pytest.raises(UnknownVariant, match="'pruned'; it has original"):
        catalogue(store, default="pruned").default(TRANSLATION)
    with pytest.raises(UnknownVariant, match="the store holds no summarization variant"):
        catalogue(store).default(Task.SUMMARIZATION)


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
