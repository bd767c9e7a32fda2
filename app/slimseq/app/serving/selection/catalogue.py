"""The variants of the store for requests: read again at most once a second, with the default of each task."""

import time
from collections.abc import Callable, Mapping

from slimseq.models_store.errors import InvalidArtifact, UnknownVariant
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Entry, Store

FRESH_SECONDS = 1.0
USUAL_DEFAULTS = ("quantized", "original")


class Catalogue:
    """The artifacts of the store, cached for a second so that requests do not read every manifest."""

    def __init__(
        self, store: Store, defaults: Mapping[Task, str | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        # The pool replaces it. Until then every variant is assumed to be loadable.
        self.can_serve: Callable[[Task, str], bool] = lambda task, variant: True
        self._defaults = defaults
        self._clock = clock
        self._entries: list[Entry] = []
        self._read_at = float("-inf")
        self._bytes: dict[tuple[Task, str, str], int | None] = {}

    def entries(self, task: Task | None = None) -> list[Entry]:
        """Returns the artifacts of one or all tasks, including unreadable ones, in the order of `Store.scan`."""
        if self._clock() - self._read_at > FRESH_SECONDS:
            self._entries = self.store.scan(self._entries)
            self._read_at = self._clock()
            self._bytes.clear()
        return [entry for entry in self._entries if task in (None, entry.task)]

    def refresh(self) -> None:
        """Has the next call read the store again."""
        self._read_at = float("-inf")

    def entry(self, task: Task, variant: str) -> Entry:
        """Returns an artifact.

        Raises:
            UnknownVariant: the store has no variant of that name.
        """
        for attempt in range(2):
            for entry in self.entries(task):
                if entry.variant == variant:
                    return entry
            if attempt == 0:
                self.refresh()
        raise UnknownVariant(task.value, variant, self.names(task))

    def bytes_of(self, task: Task, variant: str, name: str) -> int | None:
        """Returns the bytes on disk of a format of an artifact, None where they are unknown."""
        key = (task, variant, name)
        if key not in self._bytes:
            try:
                self._bytes[key] = format_bytes(self.store, task, variant, name) or None
            except InvalidArtifact:
                self._bytes[key] = None
        return self._bytes[key]

    def manifest(self, task: Task, variant: str) -> Manifest:
        """Returns the manifest of an artifact.

        Raises:
            UnknownVariant: the store has no variant of that name.
            InvalidArtifact: its manifest cannot be read.
        """
        entry = self.entry(task, variant)
        if entry.manifest is None:
            raise entry.error or UnknownVariant(task.value, variant, self.names(task))
        return entry.manifest

    def manifests(self, task: Task) -> list[Manifest]:
        """Returns the readable manifests of a task."""
        return [entry.manifest for entry in self.entries(task) if entry.manifest is not None]

    def names(self, task: Task) -> list[str]:
        """Returns the names of the variants of a task."""
        return [entry.variant for entry in self.entries(task)]

    def default(self, task: Task, languages: tuple[str, str] | None = None) -> str:
        """Returns the default variant of a task, or of a language pair.

        Raises:
            UnknownVariant: the task has no default variant.
        """
        name = self.find_default(task, languages)
        if name is None:
            raise UnknownVariant(task.value, self._defaults.get(task) or "original", self.names(task))
        return name

    def find_default(self, task: Task, languages: tuple[str, str] | None = None) -> str | None:
        """Returns the default variant of a task, or None if there is none.

        It is the first preferred variant that can be loaded, or the first preferred one if none can. With languages,
        only the variants that translate from the first to the second count.
        """
        names = self.preferred(task)
        if languages is not None:
            of_pair = {each.variant for each in self.manifests(task) if tuple(each.languages) == languages}
            names = [name for name in names if name in of_pair]
        return next((name for name in names if self.can_serve(task, name)), next(iter(names), None))

    def preferred(self, task: Task) -> list[str]:
        """Returns the variants that may be the default, in order of preference: only the setting's, if it is set."""
        names = self.names(task)
        chosen = self._defaults.get(task)
        if chosen:
            return [chosen] if chosen in names else []
        rejected = {e.variant for e in self.entries(task) if e.manifest is not None and e.manifest.is_rejected}
        ordered = dict.fromkeys([*USUAL_DEFAULTS, *names])
        return [name for name in ordered if name in names and name not in rejected]


def format_bytes(store: Store, task: Task, variant: str, name: str) -> int:
    """Returns the bytes on disk of a format, exported or the artifact's own."""
    export = store.export_of(task, variant, name)
    if export is not None:
        return sum(file.bytes for file in export.files)
    sizes = store.manifest(task, variant).size.bytes_by_format
    # A format that is built when the variant is loaded is about as large as its source.
    return sizes.get(name) or sizes.get("safetensors", 0)
