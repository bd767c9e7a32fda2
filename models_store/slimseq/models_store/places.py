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
    python, root = map(near, (Path(sys.executable), checkout))
    return f"{python} -m pip install -e '{root}[{extras}]'"


def near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def default_store() -> Path:
    """Returns the store that is read by default: the embedded one if only it has artifacts, else `./artifacts`."""
    embedded = embedded_store()
    return embedded if not holds_artifacts(OWN_STORE) and holds_artifacts(embedded) else OWN_STORE


def holds_artifacts(store: Path) -> bool:
    return any(any((store / task.value).glob(f"*/{MANIFEST}")) for task in Task)
