"""Selects the runtime of a variant: the named one, else the fastest measured on this type of CPU."""

import time

from slimseq.app.errors import UnfitRuntime
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.evaluation.fastest import fastest_runtime
from slimseq.inference.generator import runtimes_for
from slimseq.models_store.errors import RuntimeUnavailable, SlimseqError
from slimseq.models_store.manifest import Manifest, Task

# For this long, a variant without a runtime is not checked again when variants are listed or selected.
REMEMBERED_SECONDS = 1.0


class RuntimeChooser:
    """Selects runtimes for one process. Its setting counts if a request names no runtime."""

    def __init__(self, catalogue: Catalogue, setting: str | None = None) -> None:
        """Makes a chooser.

        Args:
            catalogue: the variants.
            setting: the runtime for requests that name none. None selects the fastest.
        """
        self._catalogue = catalogue
        self._setting = setting
        self._chosen: dict[tuple[Task, str, str, str | None], str] = {}
        self._errors: dict[tuple[Task, str], tuple[float, SlimseqError]] = {}

    def choose(self, task: Task, variant: str, runtime: str | None = None) -> str:
        """Returns the runtime's name.

        Raises:
            UnknownVariant, InvalidArtifact: as `Catalogue.manifest` does.
            UnfitRuntime: the named one cannot open it here.
            RuntimeUnavailable: the one of the setting cannot, or none can.
            CorruptArtifact, Unprepared: files are missing.
        """
        name = runtime or self._setting
        manifest = self._catalogue.manifest(task, variant)
        # The choice for one digest does not change while the service runs.
        key = (task, variant, manifest.digest, name)
        if key not in self._chosen:
            try:
                self._chosen[key] = self._named(manifest, name) if name else self._fastest(manifest)
            except RuntimeUnavailable as error:
                # The request is wrong, not the service.
                raise (UnfitRuntime(str(error)) if runtime else error) from None
        return self._chosen[key]

    def find(self, task: Task, variant: str) -> str | SlimseqError:
        """Returns what `choose` returns where no request names a runtime, or the error that it raises.

        An error is remembered for a moment, so that requests that could take another variant do not wait for it.
        """
        read_at, error = self._errors.get((task, variant), (float("-inf"), None))
        if error is not None and time.monotonic() - read_at < REMEMBERED_SECONDS:
            return error
        try:
            return self.choose(task, variant)
        except SlimseqError as raised:
            self._errors[task, variant] = time.monotonic(), raised
            return raised

    def refresh(self) -> None:
        """Has the next choice read the store again."""
        self._catalogue.refresh()
        self._errors.clear()

    def _named(self, manifest: Manifest, name: str) -> str:
        return runtimes_for(self._catalogue.store, manifest, name)[0].name

    def _fastest(self, manifest: Manifest) -> str:
        return fastest_runtime(manifest, [kind.name for kind in runtimes_for(self._catalogue.store, manifest)])
