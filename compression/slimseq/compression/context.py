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
    """The state of one command."""

    store: Store
    seed: int = 0
    """Seed of every random choice."""
    device: str = "cpu"
    """`cpu`, `cuda` or `cuda:N`."""
    may_replace: bool = False
    """Whether an existing artifact of the same name may be replaced."""
    console: Console = field(default_factory=lambda: Console(stderr=True))
    """Standard error."""
    workers: int = 1
    """Number of batches that are generated at a time, in evaluations and by teachers."""
    display: Callable[[Console], AbstractContextManager[Progress]] = silent
    """Makes the progress display of a block. Tasks that are added to the display have a `status` field."""
    firefox_url: str = FIREFOX_URL
    """Server of Remote Settings that lists Firefox's models."""
    key: str | None = None
    """Key of the step that a build runs, for the lineage."""

    def threads(self, wanted: int = 0) -> int:
        """Returns the number of threads of one generation. 0 leaves it to the runtime.

        Without a wanted number, several workers share the cores equally.
        """
        if wanted:
            return wanted
        if self.workers == 1:
            return 0
        return max(available_cores() // self.workers, 1)

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
