"""The variants of the store, read again at most once a second, and the runtime that opens each variant.

A thread reads the store, so that a slow disk does not hold the event loop. `slimseq.app.serving.selection.defaults` and
`chooser` select among the variants.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from slimseq.app.errors import UnfitRuntime
from slimseq.evaluation.fastest import fastest_runtime
from slimseq.inference.generator import runtimes_for
from slimseq.models_store.derived import DERIVED, read_derived, with_recorded
from slimseq.models_store.errors import InvalidArtifact, RuntimeUnavailable, SlimseqError, UnknownVariant
from slimseq.models_store.files import Stamp, stamp_of
from slimseq.models_store.fronts import FRONTS, Front, read_fronts
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.speeds import SPEEDS, Speeds, read_speeds
from slimseq.models_store.store import Entry, Store

logger = logging.getLogger(__name__)
Figures = TypeVar("Figures")

# Time for which the store is not read again, and a variant without a runtime is not checked again.
FRESH_SECONDS = 1.0
# Time that a request waits for a scan. The embedded store is read in 2 ms. While a slower store is read, requests see
# what it had before.
PATIENCE_SECONDS = 0.02


@dataclass(frozen=True)
class StoreContent:
    """What one scan of the store found: its artifacts, and by task what was measured here, recorded and compressed.

    Files are kept with their stamps, so that the next scan does not read unchanged files again.
    """

    entries: list[Entry]
    speeds: dict[Task, tuple[Stamp | None, Speeds]]
    records: dict[Task, tuple[Stamp | None, list[Manifest]]]
    fronts: dict[Task, tuple[Stamp | None, list[Front]]]


class Catalogue:
    """The artifacts of the store, cached for a second so that requests do not read every manifest.

    `runtime` is the setting: the runtime for requests that name none. None selects the fastest on this type of CPU.
    """

    def __init__(self, store: Store, runtime: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._runtime = runtime
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._scan: Future[StoreContent] | None = None
        self._content = StoreContent([], {}, {}, {})
        # None until the first scan has ended.
        self._entries: list[Entry] | None = None
        self._by_name: dict[tuple[Task, str], Entry] = {}
        self._read_at = float("-inf")
        self._version = 0
        # By task, variant and format.
        self._bytes: dict[tuple[Task, str, str], int | None] = {}
        # By task, variant, digest and the name of a runtime, if a request or the setting names one.
        self._runtimes: dict[tuple[Task, str, str, str | None], str] = {}
        # By task and variant: the time of `time.monotonic`, and why no runtime opened the variant then.
        self._errors: dict[tuple[Task, str], tuple[float, SlimseqError]] = {}

    def entries(self, task: Task | None = None) -> list[Entry]:
        """Returns the artifacts of one or all tasks, including unreadable ones, in the order of `Store.scan`."""
        self._read_if_stale()
        return [entry for entry in self._entries or () if task in (None, entry.task)]

    def version(self) -> int:
        """Returns a number that increases whenever an artifact of the store, or a result of `compress`, has changed."""
        self._read_if_stale()
        return self._version

    def _read_if_stale(self) -> None:
        """Reads the store on a thread. A caller waits for the first scan, and briefly for later ones that it starts."""
        if self._scan is not None:
            self._take_scan(0.0)
        if self._scan is None and self._clock() - self._read_at > FRESH_SECONDS:
            self._start_scan()
            self._take_scan(PATIENCE_SECONDS if self._entries is not None else None)

    def _start_scan(self) -> Future["StoreContent"]:
        self._read_at = self._clock()
        self._scan = self._thread.submit(_read_store, self.store, self._content)
        return self._scan

    def _take_scan(self, patience_seconds: float | None) -> None:
        """Waits for the running scan, None: to its end, and takes over what it found."""
        scan = self._scan
        if scan is None or not wait([scan], patience_seconds).done:
            return
        self._scan = None
        found = scan.result()
        # Forgotten even if no entry has changed: exports are no part of an entry.
        self._bytes.clear()
        if found.entries != self._entries or found.fronts != self._content.fronts:
            self._entries = found.entries
            self._by_name = {(entry.task, entry.variant): entry for entry in found.entries}
            self._version += 1
        # While nothing changes, `content` is the same object. So callers can keep what they computed of it.
        if found != self._content:
            self._content = found

    async def refresh(self) -> None:
        """Reads the store again. Returns once calls see what the store has now."""
        self._errors.clear()
        # The thread ends a scan that runs first, which may have read what was replaced meanwhile.
        scan = self._start_scan()
        await asyncio.wait([asyncio.wrap_future(scan)])
        if scan is self._scan:
            self._take_scan(0.0)

    def entry(self, task: Task, variant: str) -> Entry:
        """Returns the entry of a variant. Before it raises `UnknownVariant`, it reads the store again."""
        self._read_if_stale()
        entry = self._by_name.get((task, variant))
        if entry is None:
            self._read_at = float("-inf")
            self._read_if_stale()
            entry = self._by_name.get((task, variant))
        if entry is None:
            self._read_at = float("-inf")
            raise UnknownVariant(task.value, variant, self.names(task))
        return entry

    def bytes_of(self, task: Task, variant: str, name: str) -> int | None:
        """Returns the bytes on disk of a format of an artifact, None where they are unknown."""
        key = (task, variant, name)
        if key not in self._bytes:
            try:
                self._bytes[key] = format_bytes(self.store, self.manifest(task, variant), name) or None
            except InvalidArtifact:
                self._bytes[key] = None
        return self._bytes[key]

    def manifest(self, task: Task, variant: str) -> Manifest:
        entry = self.entry(task, variant)
        if entry.manifest is None:
            raise entry.error or UnknownVariant(task.value, variant, self.names(task))
        return entry.manifest

    def manifests(self, task: Task) -> list[Manifest]:
        return [entry.manifest for entry in self.entries(task) if entry.manifest is not None]

    @property
    def content(self) -> StoreContent:
        self._read_if_stale()
        return self._content

    def speeds(self, task: Task) -> Speeds:
        """Returns what this machine measured of a task's artifacts, by digest."""
        self._read_if_stale()
        _, speeds = self._content.speeds.get(task, (None, {}))
        return speeds

    def recorded(self, task: Task) -> list[Manifest]:
        """Returns a task's manifests. For a derived artifact it is the first manifest, which the store's record has."""
        self._read_if_stale()
        _, record = self._content.records.get(task, (None, []))
        return with_recorded(self.manifests(task), record)

    def fronts(self, task: Task) -> list[Front]:
        """Returns the results of `compress` that the store has of a task, also of variants that were removed since."""
        self._read_if_stale()
        _, fronts = self._content.fronts.get(task, (None, []))
        return fronts

    def names(self, task: Task) -> list[str]:
        return [entry.variant for entry in self.entries(task)]

    def runtime(self, task: Task, variant: str, runtime: str | None = None) -> str:
        """Returns the name of the runtime of a variant: `runtime`, else the runtime of the setting, else the fastest.

        Raises:
            UnknownVariant, InvalidArtifact: as `manifest` does.
            UnfitRuntime: `runtime` cannot open the variant here.
            RuntimeUnavailable: the runtime of the setting cannot open it, or no runtime can.
            CorruptArtifact, Unprepared: files are missing.
        """
        name = runtime or self._runtime
        manifest = self.manifest(task, variant)
        # The choice for one digest does not change while the service runs.
        key = (task, variant, manifest.digest, name)
        if key not in self._runtimes:
            try:
                fitting = [kind.name for kind in runtimes_for(self.store, manifest, name)]
            except RuntimeUnavailable as error:
                if not runtime:
                    raise
                # The request names the runtime. So the request is wrong, and not the service.
                raise UnfitRuntime(str(error)) from None
            self._runtimes[key] = fitting[0] if name else fastest_runtime(manifest, fitting)
        return self._runtimes[key]

    def find_runtime(self, task: Task, variant: str) -> str | SlimseqError:
        """Returns the runtime of a variant where no request names one, or the error that `runtime` raises.

        An error is remembered for `FRESH_SECONDS`, so that requests that could take another variant do not wait for it.
        """
        raised_at, error = self._errors.get((task, variant), (float("-inf"), None))
        if error is not None and time.monotonic() - raised_at < FRESH_SECONDS:
            return error
        try:
            return self.runtime(task, variant)
        except SlimseqError as raised:
            self._errors[task, variant] = time.monotonic(), raised
            return raised


def _read_store(store: Store, known: StoreContent) -> StoreContent:
    entries = store.scan(known.entries)
    content = StoreContent(entries, {}, {}, {})
    for task in {entry.task for entry in entries}:
        content.speeds[task] = _read_again(store, task, SPEEDS, known.speeds.get(task), read_speeds, {})
        content.records[task] = _read_again(store, task, DERIVED, known.records.get(task), read_derived, [])
        content.fronts[task] = _read_again(store, task, FRONTS, known.fronts.get(task), read_fronts, [])
    return content


def _read_again(
    store: Store,
    task: Task,
    name: str,
    known: tuple[Stamp | None, Figures] | None,
    read: Callable[[Path, Task], Figures],
    nothing: Figures,
) -> tuple[Stamp | None, Figures]:
    """Reads a file of a task, and returns its stamp and content. A file that cannot be read has the content `nothing`.

    `known` is the result of the last time. An unchanged file is not read again.
    """
    stamp = stamp_of(store.root / task.value / name)
    if known is not None:
        known_stamp, _ = known
        if stamp == known_stamp:
            return known
    try:
        return stamp, read(store.root, task)
    except InvalidArtifact as error:
        logger.warning("figures cannot be read", extra={"reason": str(error)})
        return stamp, nothing


def format_bytes(store: Store, manifest: Manifest, name: str) -> int:
    """Returns the bytes on disk of a format, exported or the artifact's own."""
    export = store.export_of(manifest.task, manifest.variant, name)
    if export is not None:
        return sum(file.bytes for file in export.files)
    sizes = manifest.size.bytes_by_format
    # A format that is built when the variant is loaded is about as large as its source.
    return sizes.get(name) or sizes.get("safetensors", 0)
