"""The explicit state of a command: store, seed, device and console.

Only the command line reads the environment; all other code gets this object.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from threading import Event, Thread

from rich.console import Console
from rich.progress import Progress

from slimseq.evaluation.host import available_cores
from slimseq.models_store.store import Store

# Mozilla's server of Remote Settings.
FIREFOX_URL = "https://firefox.settings.services.mozilla.com/v1"
LIBRARIES = (
    "slimseq",
    "torch",
    "transformers",
    "optimum",
    "optimum-onnx",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "ctranslate2",
)


def silent(console: Console) -> AbstractContextManager[Progress]:
    return Progress(console=console, disable=True)


@dataclass(frozen=True)
class Context:
    """The state of one command: a seed of every random choice, and a device, `cpu`, `cuda` or `cuda:N`.

    `workers` are how many batches of texts are generated at a time, for evaluations and as a teacher. `display` makes
    the progress display of a block; tasks that are added to it have a `status` field. The console is standard error.
    `firefox_url` is the server of Remote Settings that lists Firefox's models, and `key` that of the step that a build
    runs, for the lineage.
    """

    store: Store
    seed: int = 0
    device: str = "cpu"
    may_replace: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True))
    workers: int = 1
    display: Callable[[Console], AbstractContextManager[Progress]] = silent
    firefox_url: str = FIREFOX_URL
    key: str | None = None

    def threads(self, wanted: int = 0) -> int:
        """Returns the threads of one generation: as wanted, else the worker's part of the cores. 0: the runtime's."""
        return wanted or (max(available_cores() // self.workers, 1) if self.workers > 1 else 0)

    def progress(self) -> AbstractContextManager[Progress]:
        return self.display(self.console)

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        """Shows progress without a known end while the block runs, such as for reading a file."""
        with self.progress() as display:
            display.add_task(description, total=None, status="")
            yield

    def say(self, message: str) -> None:
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)


def library_versions() -> dict[str, str]:
    """Returns the versions of the installed libraries that an artifact's bytes depend on."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@contextmanager
def every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Calls a function periodically from a thread until the block ends."""
    ended = Event()

    def repeat() -> None:
        due = time.monotonic() + seconds
        while not ended.wait(max(0.0, due - time.monotonic())):
            due = time.monotonic() + seconds
            action()

    thread = Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
