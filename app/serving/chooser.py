"""Which variant answers: the one named, the fastest that keeps enough quality, or the task's default."""

from collections.abc import Callable

from app.errors import InvalidRequest, NoVariantRetains
from app.serving.catalogue import Catalogue
from app.serving.gates import retention
from models_store.errors import SlimseqError
from models_store.generator import choose_runtime
from models_store.manifest import Manifest, Task


class Chooser:
    """Resolves what a request says about variants to one name."""

    def __init__(
        self,
        catalogue: Catalogue,
        runtime: str | None = None,
        last_error: Callable[[Task, str], SlimseqError | None] = lambda task, variant: None,
    ) -> None:
        """Chooses among a catalogue's variants.

        Args:
            catalogue: what there is.
            runtime: the runtime that must open a variant, None for any.
            last_error: why a variant could not be opened when last tried; such a one is not chosen for its speed.
        """
        self._catalogue = catalogue
        self._runtime = runtime
        self._last_error = last_error

    def choose(self, task: Task, variant: str | None = None, min_retention: float | None = None) -> str:
        """Returns the variant's name.

        Raises:
            InvalidRequest: both a name and a retention are given.
            UnknownVariant: there is no variant of that name.
            InvalidArtifact: the named variant's manifest cannot be read.
            NoVariantRetains: no variant keeps that much.
        """
        if variant is not None and min_retention is not None:
            raise InvalidRequest("query parameters variant and min_retention exclude each other: give one")
        if min_retention is not None:
            return self._fastest(task, min_retention)
        name = variant if variant is not None else self._catalogue.default(task)
        self._catalogue.manifest(task, name)
        return name

    def check_exists(self, task: Task, variant: str) -> None:
        """Checks that there is a variant of that name, readable or not.

        Raises:
            UnknownVariant: there is none.
        """
        self._catalogue.entry(task, variant)

    def _fastest(self, task: Task, min_retention: float) -> str:
        manifests = [
            entry.manifest
            for entry in self._catalogue.entries(task)
            if entry.manifest is not None and self._is_servable(entry.manifest)
        ]
        enough = [manifest for manifest in manifests if (retention(manifest) or 0.0) >= min_retention]
        if not enough:
            kept = [(manifest.variant, retention(manifest)) for manifest in manifests]
            raise NoVariantRetains(task.value, min_retention, kept)
        return min(enough, key=_slowness).variant

    def _is_servable(self, manifest: Manifest) -> bool:
        if manifest.is_rejected:
            return False
        try:
            choose_runtime(self._catalogue.store, manifest.task, manifest.variant, self._runtime)
        except SlimseqError:
            return False
        return self._last_error(manifest.task, manifest.variant) is None


def _slowness(manifest: Manifest) -> tuple[float, int]:
    """Orders by measured tokens a second; unmeasured ones come last, and the fewest bytes first among equals."""
    speed = max((measured.tokens_per_second for measured in manifest.performance), default=0.0)
    return -speed, min(manifest.size.bytes_by_format.values(), default=0)
