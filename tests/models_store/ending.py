"""A program that writes or removes an artifact, and is stopped or killed at the n-th line of the code that writes.

`python -m tests.models_store.ending LINE ENDING VERB STORE`, with `STOPPED` or `KILLED` as the ending.
"""

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from slimseq.models_store.files import list_files, write_manifest
from slimseq.models_store.manifest import Manifest, Task, digest_of
from slimseq.models_store.store import Store
from tests.app.serving.artifacts import manifest

TASK = Task.TRANSLATION
# The files whose lines are counted.
WATCHED = ("replacing.py", "store.py", "locks.py")
# Exit codes: the program came to its end, was stopped by Ctrl-C, or ended at once as with kill -9.
DONE = 0
STOPPED = 1
KILLED = 2


def write(store: Store, variant: str, content: str) -> Manifest:
    """Writes an artifact whose weights are a text."""
    with store.writing(TASK, variant) as folder:
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            (folder / name).write_text(f"{name} {content}")
        files = list_files(folder)
        size = {"parameters": 1, "nonzero_parameters": 1, "bytes_by_format": {"safetensors": files[1].bytes}}
        made = manifest(TASK, variant, files=files, digest=digest_of(files), size=size)
        write_manifest(folder, made)
    return made


def main(line: int, ending: int, verb: str, store: Store) -> int:
    """Writes or removes an artifact, and is stopped or killed meanwhile; returns how it ended."""
    seen = 0

    def trace(frame: FrameType, event: str, _value: Any) -> Any:
        nonlocal seen
        if not frame.f_code.co_filename.endswith(WATCHED):
            return None
        seen += event == "line"
        if event == "line" and seen == line:
            if ending == KILLED:
                os._exit(KILLED)
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        if verb == "write":
            write(store, "slim", "new")
        else:
            store.remove(TASK, "slim")
    except KeyboardInterrupt:
        return STOPPED
    finally:
        sys.settrace(None)
    return DONE


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Store(Path(sys.argv[4]))))
