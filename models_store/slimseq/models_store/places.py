"""Where artifacts are when nobody names a store: the embedded models, and a user's own store in the current folder."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slimseq.models_store.files import MANIFEST, writing_to
from slimseq.models_store.locks import LOCK
from slimseq.models_store.manifest import Task

# Relative: each folder that somebody works in has its own.
OWN_STORE = Path("artifacts")
GITIGNORE = ".gitignore"


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
    """Returns a path relative to the current folder where it is in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def default_store() -> Path:
    """Returns what is read and served by default.

    Returns:
        `./artifacts` where it holds artifacts; else the embedded models; `./artifacts` also where there are none.
    """
    embedded = embedded_store()
    return embedded if not holds_artifacts(OWN_STORE) and holds_artifacts(embedded) else OWN_STORE


def holds_artifacts(store: Path) -> bool:
    return any(any((store / task.value).glob(f"*/{MANIFEST}")) for task in Task)


def make_own_store() -> Path:
    """Returns `./artifacts`; where it is not there, makes it with a file that tells git to ignore all of it.

    Raises:
        CannotWrite: the disk is full, or may not be written.
    """
    if not OWN_STORE.exists():
        with writing_to(OWN_STORE):
            OWN_STORE.mkdir()
            (OWN_STORE / GITIGNORE).write_text("*\n", encoding="utf-8")
    return OWN_STORE


@contextmanager
def own_store_only_if_used() -> Iterator[None]:
    """Removes `./artifacts` after the block if the block made it and it holds nothing."""
    is_there = OWN_STORE.exists()
    try:
        yield
    finally:
        if not is_there:
            # What another process is writing or has written is in a folder of a task, which then cannot be removed.
            with suppress(OSError):
                for folder in [path for path in OWN_STORE.iterdir() if path.is_dir()]:
                    folder.rmdir()
                (OWN_STORE / LOCK).unlink(missing_ok=True)
                (OWN_STORE / GITIGNORE).unlink(missing_ok=True)
                OWN_STORE.rmdir()
