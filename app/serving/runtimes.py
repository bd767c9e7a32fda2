"""Which runtime opens a variant: the one that is named, else the fastest that was measured on this kind of CPU."""

from app.errors import UnfitRuntime
from app.serving.catalogue import Catalogue
from evaluation.fastest import fastest_runtime
from evaluation.host import available_cores, cpu_flags
from evaluation.layouts import fastest_in_its_layout
from models_store.errors import RuntimeUnavailable
from models_store.generator import choose_runtime, possible_runtimes
from models_store.manifest import Manifest, Task


class RuntimeChooser:
    """Chooses for one process: its setting counts where a request names no runtime."""

    def __init__(self, catalogue: Catalogue, setting: str | None = None) -> None:
        """Chooses nothing yet.

        Args:
            catalogue: what there is.
            setting: the runtime that opens whatever no request says otherwise of; None for the fastest.
        """
        self._catalogue = catalogue
        self._setting = setting
        self._flags = cpu_flags()
        self._chosen: dict[tuple[Task, str, str, str | None], str] = {}

    def choose(self, task: Task, variant: str, runtime: str | None = None) -> str:
        """Returns the runtime's name.

        Raises:
            UnknownVariant, InvalidArtifact: as `Catalogue.manifest` does.
            UnfitRuntime: the named one cannot open it here.
            RuntimeUnavailable: the one of the setting cannot, or none can.
        """
        name = runtime or self._setting
        manifest = self._catalogue.manifest(task, variant)
        # What opens the files of one digest, and how fast, does not change while the service runs.
        key = (task, variant, manifest.digest, name)
        if key not in self._chosen:
            try:
                self._chosen[key] = self._named(manifest, name) if name else self._fastest(manifest)
            except RuntimeUnavailable as error:
                # The service is as it should be: it is the request that asks for something else.
                raise (UnfitRuntime(str(error)) if runtime else error) from None
        return self._chosen[key]

    def _named(self, manifest: Manifest, name: str) -> str:
        return choose_runtime(self._catalogue.store, manifest.task, manifest.variant, name).name

    def _fastest(self, manifest: Manifest) -> str:
        possible = [kind.name for kind in possible_runtimes(self._catalogue.store, manifest.task, manifest.variant)]
        tuned = fastest_in_its_layout(manifest.layouts, possible, available_cores(), self._flags)
        return tuned or fastest_runtime(manifest.performance, possible, self._flags)
