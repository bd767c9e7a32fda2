"""Runs a command with a limit on its memory: in a control group where one can be made, else with `prlimit`."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Control groups of version 2 and of version 1: folder, and the file that takes the limit.
GROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max"),
    (Path("/sys/fs/cgroup/unified"), "memory.max"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
)


@dataclass(frozen=True)
class MemoryLimit:
    """What limits a process: its `prefix` goes before the command."""

    kind: str
    prefix: tuple[str, ...]


@contextlib.contextmanager
def memory_limit(limit_bytes: int) -> Iterator[MemoryLimit]:
    """Yields a limit for one process and what it starts."""
    for root, name in GROUPS:
        group = root / f"slimseq-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text(str(limit_bytes))
        except OSError:
            group.rmdir()
            continue
        try:
            script = f'echo $$ > {group}/cgroup.procs && exec "$@"'
            yield MemoryLimit("control group", ("sh", "-c", script, "sh"))
        finally:
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    yield MemoryLimit("prlimit --data", ("prlimit", f"--data={limit_bytes}"))
