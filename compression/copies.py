"""Copies artifacts between stores."""

import shutil

from models_store.manifest import Manifest
from models_store.store import Store


def copy_artifact(source: Store, target: Store, manifest: Manifest) -> None:
    """Copies an artifact from one store to another, exports beside it included."""
    task, name = manifest.task, manifest.variant
    with target.writing(task, name) as folder:
        for path in sorted(source.folder(task, name).rglob("*")):
            to = folder / path.relative_to(source.folder(task, name))
            if path.is_dir():
                to.mkdir(parents=True, exist_ok=True)
            else:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
