"""What a run of `compress` has found so far, so that the same command goes on after an interruption.

A finding is a JSON value under a name, such as the measured costs or the number of training steps. Everything that a
run decides is decided from findings, and a finding is written once. So a run that was killed makes the same variants as
one that was not. `start.changed_options` says which findings another `--within` or `--keep` makes anew. Finished steps
and checkpoints are beside the findings, as a build keeps them.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slimseq.compression.build.build import working_in
from slimseq.compression.errors import BadParameters
from slimseq.models_store.files import write_text, writing_to

FINDINGS = "findings.json"
# The key under which the findings have the seconds of the run, interruptions left out.
SECONDS = "seconds"


class RunFolder:
    """The folder of a run, its findings, and the seconds that it has taken. One process at a time uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._findings: dict[str, Any] = {}
        self._started = time.monotonic()
        self._earlier_seconds = 0.0

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Locks the folder for the block, and reads the findings of an interrupted run.

        Raises:
            ArtifactInUse: another process uses the folder.
            BadParameters: the findings cannot be read.
        """
        with working_in(self.path):
            self._findings = self._read()
            self._earlier_seconds = float(self._findings.get(SECONDS, 0.0))
            self._started = time.monotonic()
            yield

    @property
    def is_resumed(self) -> bool:
        return self._earlier_seconds > 0

    @property
    def seconds(self) -> float:
        """Seconds of this run, those before an interruption included."""
        return self._earlier_seconds + time.monotonic() - self._started

    def has(self, name: str) -> bool:
        return name in self._findings

    def names(self) -> list[str]:
        """Returns the names of all findings, in the order in which they were made."""
        return [name for name in self._findings if name != SECONDS]

    def get(self, name: str) -> Any:
        """Returns a finding, or None if there is none of that name."""
        return self._findings.get(name)

    def find_or_make(self, name: str, make: Callable[[], Any]) -> Any:
        """Returns a finding as JSON has it. `make` is called only if there is none of that name yet."""
        if name not in self._findings:
            value = make()
            # By way of JSON, so that a run that goes on from the file sees the same values.
            self._findings[name] = json.loads(json.dumps(value))
            self.save()
        return self._findings[name]

    def revise(self, forgotten: Iterable[str], changed: Mapping[str, Any]) -> None:
        """Forgets some findings and replaces others, both in one write: an interruption leaves all or none of it."""
        for name in forgotten:
            self._findings.pop(name, None)
        self._findings |= json.loads(json.dumps(changed))
        self.save()

    def discard(self, *others: str) -> None:
        """Removes the findings, and other files of the folder, of a run that was refused at its start."""
        self._findings = {}
        for name in (FINDINGS, *others):
            (self.path / name).unlink(missing_ok=True)

    def save(self) -> None:
        """Writes the findings, and the seconds so far."""
        self._findings[SECONDS] = round(self.seconds, 3)
        path = self.path / FINDINGS
        with writing_to(path):
            write_text(path, json.dumps(self._findings, indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> dict[str, Any]:
        path = self.path / FINDINGS
        if not path.exists():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadParameters(f"{path} cannot be read ({error}); remove {self.path} to start again") from error
        if not isinstance(found, dict):
            raise BadParameters(f"{path} holds no findings; remove {self.path} to start again")
        return found
