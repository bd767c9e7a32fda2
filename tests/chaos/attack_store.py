"""Artifacts that are not what they say, and a store that cannot be written."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slimseq.models_store.manifest import digest_of
from tests.chaos.target import Target

# The service looks at its store anew after a second.
FRESH_SECONDS = 1.5


def manifests_that_lie(target: Target) -> Iterator[str]:
    """Serves variants whose manifest lists no file, or is of another name or task, and a link out of the store."""
    task = target.store / "translation"
    outside = target.store.parent / "outside"
    shutil.copytree(task / "original", outside)
    made = {
        "empty": _copied(task, "empty", _without_files),
        "other-name": _copied(task, "other-name", lambda manifest: {**manifest, "variant": "original"}),
        "other-task": _copied(task, "other-task", lambda manifest: {**manifest, "task": "summarization"}),
        "linked": task / "linked",
    }
    (outside / "manifest.json").write_text(json.dumps(_named(outside, "linked")))
    made["linked"].symlink_to(outside)
    time.sleep(FRESH_SECONDS)
    try:
        for name in made:
            answer = target.service.post(f"/translate?variant={name}", {"text": "Good morning."})
            if answer.status not in (404, 503):
                yield f"{name}: {answer.status} {answer.text[:120]}"
        if (status := target.service.post("/translate", {"text": "Good morning."}).status) != 200:
            yield f"the others do not serve: {status}"
    finally:
        for path in (*made.values(), outside):
            path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
        time.sleep(FRESH_SECONDS)


def _copied(task: Path, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    folder = task / name
    shutil.copytree(task / "original", folder)
    (folder / "manifest.json").write_text(json.dumps(change(_named(folder, name))))
    return folder


def _named(folder: Path, name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return {**manifest, "variant": name}


def _without_files(manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "files": [], "digest": digest_of([])}
