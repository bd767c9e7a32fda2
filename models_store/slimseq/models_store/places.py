"""Where artifacts are when nobody names a store: the embedded models, and a user's own store in the current folder."""

import sys
from pathlib import Path

from slimseq.models_store.files import MANIFEST
from slimseq.models_store.manifest import Task

# A relative path: each folder in which somebody works has its own store. `slimseq.models_store.replacing` makes it.
OWN_STORE = Path("artifacts")


def embedded_store() -> Path:
    """Returns the folder of a checkout's embedded artifacts. Only maintainers write there; a wheel has none."""
    return Path(__file__).parents[2] / "artifacts"


def pip_install(extras: str) -> str:
    """Returns the command that installs extras: from the checkout if this runs in one, else from the package index."""
    checkout = Path(__file__).parents[3]
    if not (checkout / "pyproject.toml").exists():
        return f"pip install 'slimseq[{extras}]'"
    return f"{near(Path(sys.executable))} -m pip install -e '{near(checkout)}[{extras}]'"


def near(path: Path) -> Path:
    """Returns a path relative to the current folder, if it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def default_store() -> Path:
    """Returns the store that is read by default: the embedded one if only it has artifacts, else `./artifacts`."""
    embedded = embedded_store()
    if holds_artifacts(embedded) and not holds_artifacts(OWN_STORE):
        return embedded
    return OWN_STORE


def holds_artifacts(store: Path) -> bool:
    return any(any((store / task.value).glob(f"*/{MANIFEST}")) for task in Task)
