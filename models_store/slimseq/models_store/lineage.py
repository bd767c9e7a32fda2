"""Finds the root of a variant's lineage: the model that its retention, speed and size are relative to.

A manifest names the root as its `reference`, by digest, because names can change. For older manifests without a
`reference`, the root follows from the lineage. All reports, gates and requests use this module, so all of them refer to
the same model.
"""

import itertools
from collections.abc import Iterable, Sequence

from slimseq.models_store.manifest import Manifest, Reference

# These techniques make a base model. The results of other techniques are compared with their base model.
BASE_TECHNIQUES = ("import", "train")
# Digits of a digest that stand for a model without a name.
SHOWN_DIGITS = 12
# Compared from left to right, and False comes before True. `sort_key` says what each part is.
SortKey = tuple[bool, str, bool, str, bool, str]


def is_root(manifest: Manifest) -> bool:
    """Whether an artifact is a base model, which is its own reference."""
    # A step may change no file: then the result has the digest of its parent.
    return _digests(manifest)[0] == manifest.digest and manifest.parent != manifest.digest


def root_of(manifest: Manifest, manifests: Iterable[Manifest]) -> Manifest | None:
    """Returns the root of an artifact's lineage. A root is its own root. None if the store lacks the root."""
    if is_root(manifest):
        return manifest
    manifests = [each for each in manifests if each.task is manifest.task]
    hint = manifest.reference.variant if manifest.reference is not None else None
    for digest in _digests(manifest):
        same = [each for each in manifests if each.digest == digest and is_root(each)]
        if same:
            # A store may have the same files under two names.
            return next((each for each in same if each.variant == hint), same[0])
    return None


def reference_of(manifest: Manifest, manifests: Iterable[Manifest]) -> Reference:
    """Returns the root of an artifact's lineage, with its name in the store or else its recorded name."""
    root = root_of(manifest, manifests)
    if root is not None:
        return Reference(variant=root.variant, digest=root.digest)
    return manifest.reference or Reference(digest=_digests(manifest)[0])


def group_by_root(manifests: Sequence[Manifest]) -> list[list[Manifest]]:
    """Groups the artifacts of a task by their root, and keeps their order.

    The root itself may be missing in the store.
    """
    groups: dict[str, list[Manifest]] = {}
    for manifest in manifests:
        groups.setdefault(reference_of(manifest, manifests).digest, []).append(manifest)
    return list(groups.values())


def sort_key(manifest: Manifest, manifests: Sequence[Manifest]) -> SortKey:
    """Returns the key that sorts the artifacts of a task: each root, `original` first, then its variants by name."""
    reference = reference_of(manifest, manifests)
    root_name = reference.variant or ""
    is_root_missing = root_of(manifest, manifests) is None
    is_variant = not is_root(manifest)
    return root_name != "original", root_name, is_root_missing, reference.digest, is_variant, manifest.variant


def reference_label(manifest: Manifest, manifests: Sequence[Manifest]) -> str:
    """Returns the name of an artifact's reference, with a note if the store does not have it."""
    label = label_of(reference_of(manifest, manifests))
    return label if root_of(manifest, manifests) is not None else f"{label} (missing)"


def lineage_labels(manifest: Manifest, manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Returns the name of a variant's reference and the techniques that made the variant from it.

    Where no step began with the files of the reference that the manifest names, these are the steps after those that
    made a base model: the search of a reference may have changed since then.
    """
    label = reference_label(manifest, manifests)
    if is_root(manifest):
        return (label,)
    reference = reference_of(manifest, manifests)
    techniques = tuple(step.technique for step in manifest.lineage)
    starts = [index for index, step in enumerate(manifest.lineage) if step.parent == reference.digest]
    if starts:
        return (label, *techniques[starts[0] :])
    if manifest.reference is None:
        return techniques
    of_variant = itertools.dropwhile(lambda technique: technique in BASE_TECHNIQUES, techniques)
    return (label, *of_variant)


def demonstrations(manifests: Iterable[Manifest]) -> set[str]:
    """Returns the digests of embedded demonstration models among some artifacts, and of artifacts made from them.

    A model that was trained further is no demonstration model any more. The base model itself may be missing: one
    artifact that says that it is a demonstration speaks for all artifacts of the same base model.
    """
    manifests = list(manifests)
    shown = [each for each in manifests if each.is_demonstration]
    digests = {each.digest for each in shown}
    roots = {_digests(each)[0] for each in shown}
    return {each.digest for each in manifests if each.digest in digests or _digests(each)[0] in digests | roots}


def label_of(reference: Reference) -> str:
    return reference.variant or reference.digest[: len("sha256:") + SHOWN_DIGITS]


def _digests(manifest: Manifest) -> list[str]:
    """Returns possible digests of the root: the recorded one, or the base models of the lineage, the last one first."""
    if manifest.reference is not None:
        return [manifest.reference.digest]
    # The result of a step is the parent of the next step.
    results = [*(step.parent for step in manifest.lineage[1:]), manifest.digest]
    bases: list[str] = []
    for step, result in zip(manifest.lineage, results, strict=False):
        if step.technique not in BASE_TECHNIQUES:
            break
        if result:
            bases.insert(0, result)
    if bases:
        return bases
    first = manifest.lineage[0].parent if manifest.lineage else None
    return [first or manifest.digest]
