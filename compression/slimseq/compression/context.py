"""The explicit state of a command: store, seed, device and console.

Only the command line reads the environment; all other code gets this object.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.progress import Progress

from slimseq.compression.progress import progress_on
from slimseq.models_store.store import Store

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


@dataclass(frozen=True)
class Workers:
    """The processes that generate texts, for evaluations and as teachers.

    Args:
        count: their number. 1 generates in the process of the command.
        ray_address: of a Ray cluster whose processes are used. None uses processes of this machine.
    """

    count: int = 1
    ray_address: str | None = None


@dataclass(frozen=True)
class Context:
    """The state of one command.

    Args:
        store: for reading and writing artifacts.
        seed: of every random choice.
        device: `cpu`, `cuda` or `cuda:N`.
        may_replace: whether a new artifact may replace one with the same name.
        console: for progress and messages, on standard error. Results go to standard output.
        workers: the processes that generate texts.
    """

    store: Store
    seed: int = 0
    device: str = "cpu"
    may_replace: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True))
    workers: Workers = field(default_factory=Workers)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Yields a progress display: bars on a terminal, otherwise a line every few seconds."""
        with progress_on(self.console) as display:
            yield display

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        """Shows progress without a known end while the block runs, such as for reading a file."""
        with self.progress() as display:
            display.add_task(description, total=None, status="")
            yield

    def say(self, message: str) -> None:
        """Prints one message for the user."""
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
