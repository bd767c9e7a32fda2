"""The fronts that `GET /variants` shows: what runs of `compress` found, as far as the store still has it.

A front was measured once. Its variants may have been removed, renamed or built again since, and a figure is only shown
beside the artifact that it was measured on.
"""

from collections.abc import Sequence

from slimseq.app.variants.schemas import CompressFront
from slimseq.models_store.fronts import Front, FrontVariant
from slimseq.models_store.manifest import Manifest, Task


def stored_fronts(
    task: Task, fronts: Sequence[Front], manifests: Sequence[Manifest], recorded: Sequence[Manifest]
) -> list[CompressFront]:
    """Returns the fronts whose original is in the store, with the variants that the store has.

    Args:
        task: of the fronts.
        fronts: as the store's file has them.
        manifests: what the store holds.
        recorded: the same artifacts as another machine made them. An int8 artifact of another kind of CPU has another
            digest, and is the variant all the same.
    """
    found: list[CompressFront] = []
    for front in fronts:
        original = _name_of_original(front, manifests)
        variants = [each for each in front.variants if _is_stored(each, manifests, recorded)]
        if original is None or not variants:
            continue
        fields = dict(front) | {"original": original, "variants": variants}
        found.append(CompressFront(**fields, task=task))
    return found


def _name_of_original(front: Front, manifests: Sequence[Manifest]) -> str | None:
    """Returns the name that the original has in the store by now. None if it is gone."""
    names = [manifest.variant for manifest in manifests if manifest.digest == front.digest]
    if front.original in names:
        return front.original
    return names[0] if names else None


def _is_stored(variant: FrontVariant, manifests: Sequence[Manifest], recorded: Sequence[Manifest]) -> bool:
    name, digest = variant.variant, variant.digest
    if all(manifest.variant != name for manifest in manifests):
        return False
    if digest is None:
        return True
    return any((manifest.variant, manifest.digest) == (name, digest) for manifest in [*manifests, *recorded])
