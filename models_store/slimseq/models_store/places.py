"""Paths that depend on the installation: the default store of artifacts, and the command that installs an extra.

A checkout of the repository has a store with the embedded models. A user's own store is in the current folder. The
command lines and the service ask for `default_store` when the user names no store. `Store` reads what is there.
"""

import sys
from pathlib import Path

from slimseq.models_store.files import MANIFEST
from slimseq.models_store.manifest import Task

# The user's own store. The path is relative, so that each folder in which somebody works has a store of its own.
# `slimseq.models_store.replacing` makes the folder when the first artifact is written.
OWN_STORE = Path("artifacts")


def embedded_store() -> Path:
    """Returns the folder of a checkout's embedded artifacts. Only maintainers write there; a wheel has none."""
    return Path(__file__).parents[2] / "artifacts"


def pip_install(extras: str) -> str:
    """Returns the command that installs extras of this package, for error messages.

    In a checkout, the command installs from the checkout, into the Python that runs now. Else it installs from the
    package index.
    """
    checkout = Path(__file__).parents[3]
    if not (checkout / "pyproject.toml").exists():
        return f"pip install 'slimseq[{extras}]'"
    python = shortened(Path(sys.executable))
    return f"{python} -m pip install -e '{shortened(checkout)}[{extras}]'"


def shortened(path: Path) -> Path:
    """Returns a path below the current folder as a relative path, and any other path as it is."""
    if path.is_relative_to(Path.cwd()):
        return path.relative_to(Path.cwd())
    return path


def default_store() -> Path:
    """Returns the store that is read by default: the embedded one if only it has artifacts, else `./artifacts`."""
    embedded = embedded_store()
    if holds_artifacts(embedded) and not holds_artifacts(OWN_STORE):
        return embedded
    return OWN_STORE


def holds_artifacts(store: Path) -> bool:
    return any(any((store / task.value).glob(f"*/{MANIFEST}")) for task in Task)
