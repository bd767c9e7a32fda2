"""Which runtime opens a variant: the one that is named, else the fastest that was measured on this kind of CPU."""

from evaluation.fastest import fastest_runtime
from evaluation.host import cpu_flags
from models_store.generator import choose_runtime, possible_runtimes
from models_store.manifest import Task
from models_store.store import Store


class RuntimeChooser:
    """Chooses for one process: its setting counts where a request names no runtime."""

    def __init__(self, store: Store, setting: str | None = None) -> None:
        """Chooses nothing yet.

        Args:
            store: where the artifacts are.
            setting: the runtime that opens whatever no request says otherwise of; None for the fastest.
        """
        self._store = store
        self._setting = setting
        self._flags = cpu_flags()
        self._chosen: dict[tuple[Task, str, str], str] = {}

    def choose(self, task: Task, variant: str, runtime: str | None = None) -> str:
        """Returns the runtime's name.

        Raises:
            UnknownVariant, InvalidArtifact: as `Store.manifest` does.
            RuntimeUnavailable: the named one cannot open it here, or none can.
        """
        name = runtime or self._setting
        if name is not None:
            return choose_runtime(self._store, task, variant, name).name
        manifest = self._store.manifest(task, variant)
        # What a digest was measured at does not change while the service runs.
        key = (task, variant, manifest.digest)
        if key not in self._chosen:
            possible = [kind.name for kind in possible_runtimes(self._store, task, variant)]
            self._chosen[key] = fastest_runtime(manifest.performance, possible, self._flags)
        return self._chosen[key]
