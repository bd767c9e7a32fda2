"""The root of a variant's lineage: the model that its retention, speed and size are relative to.

A manifest names it as its `reference`. The digest is what counts: names change. Older manifests have no `reference`;
theirs follows from the lineage. Every report, gate and request asks here, so that all refer to the same model.
"""

from collections.abc import Iterable
from itertools import takewhile

from slimseq.models_store.manifest import Manifest, Reference

# What these make is a base model. What any other technique makes is compared with the base model that it started from.
BASE_TECHNIQUES = ("import", "train")
Place = tuple[bool, str, bool, str, bool, str]


def is_root(manifest: Manifest) -> bool:
    """Whether an artifact is a base model, which is its own reference."""
    # A step can leave every file as it was: then the digest alone does not tell the result from its parent.
    return _digests(manifest)[0] == manifest.digest and manifest.parent != manifest.digest


def root_of(manifest: Manifest, manifests: Iterable[Manifest]) -> Manifest | None:
    """Returns the root of an artifact's lineage, which is the artifact itself where it is a root.

    Args:
        manifest: of the artifact.
        manifests: of the store that holds it.

    Returns:
        The root's manifest, None where the store does not hold it.
    """
    if is_root(manifest):
        return manifest
    manifests = [each for each in manifests if each.task is manifest.task]
    hint = manifest.reference.variant if manifest.reference is not None else None
    for digest in _digests(manifest):
        same = [each for each in manifests if each.digest == digest and is_root(each)]
        if same:
            # A store may hold the same files under two names.
            return next((each for each in same if each.variant == hint), same[0])
    return None


def reference_of(manifest: Manifest, manifests: Iterable[Manifest]) -> Reference:
    """Returns the root of an artifact's lineage by its name in the store, or as it was called where it is not there."""
    root = root_of(manifest, manifests)
    if root is not None:
        return Reference(variant=root.variant, digest=root.digest)
    return manifest.reference or Reference(digest=_digests(manifest)[0])


def place_among(manifest: Manifest, manifests: Iterable[Manifest]) -> Place:
    """Returns the key that orders one task's artifacts: each root, `original` first, then its variants by name."""
    manifests = list(manifests)
    root, reference = root_of(manifest, manifests), reference_of(manifest, manifests)
    group = reference.variant or ""
    return group != "original", group, root is None, reference.digest, not is_root(manifest), manifest.variant


def reference_words(manifest: Manifest, manifests: Iterable[Manifest]) -> str:
    """Returns the name of an artifact's reference for people, with a note where the store does not hold it."""
    manifests = list(manifests)
    words = words_of(reference_of(manifest, manifests))
    return words if root_of(manifest, manifests) is not None else f"{words} (missing)"


def lineage_words(manifest: Manifest, manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """Returns the techniques that made a variant, with its reference's name in place of the steps that made that."""
    manifests = list(manifests)
    reference, words = reference_of(manifest, manifests), reference_words(manifest, manifests)
    techniques = tuple(step.technique for step in manifest.lineage)
    if is_root(manifest):
        return (words,)
    starts = [place for place, step in enumerate(manifest.lineage) if step.parent == reference.digest]
    return (words, *techniques[starts[0] :]) if starts else techniques


def words_of(reference: Reference) -> str:
    """Returns a reference's name, or the beginning of its digest where no name is known."""
    return reference.variant or reference.digest[: len("sha256:") + 12]


def _digests(manifest: Manifest) -> list[str]:
    """Returns the digests that the root may have: as recorded, or those of the lineage's base models, last first."""
    if manifest.reference is not None:
        return [manifest.reference.digest]
    results = [*(step.parent for step in manifest.lineage[1:]), manifest.digest]
    steps = zip(manifest.lineage, results, strict=False)
    bases = [made for step, made in takewhile(lambda pair: pair[0].technique in BASE_TECHNIQUES, steps) if made]
    if bases:
        return bases[::-1]
    first = manifest.lineage[0].parent if manifest.lineage else None
    return [first or manifest.digest]
