"""What every command works with: the store, the seed, the device and where progress goes.

Nothing below the command line reads the environment; it is handed this object.
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
class Context:
    """Explicit state of one command.

    Args:
        store: where artifacts are read and written.
        seed: seeds every random choice.
        device: `cpu`, `cuda` or `cuda:N`.
        may_replace: whether a new artifact may take the place of another of its name.
        console: progress and messages go here (standard error); results go to standard output.
    """

    store: Store
    seed: int = 0
    device: str = "cpu"
    may_replace: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True))

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Yields a display of progress: bars on a terminal, else a line every few seconds."""
        with progress_on(self.console) as display:
            yield display

    @contextmanager
    def working(self, description: str) -> Iterator[None]:
        """Shows work whose end is not known, such as reading a file, for the block."""
        with self.progress() as display:
            display.add_task(description, total=None, status="")
            yield

    def say(self, message: str) -> None:
        """Prints one line for the person who watches."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)


def library_versions() -> dict[str, str]:
    """Returns the versions of what an artifact's bytes depend on, of those that are installed."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
