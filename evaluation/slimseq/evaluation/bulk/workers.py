"""Worker processes that generate windows of rows, one engine each, so that no core waits for another's interpreter.

`python -m slimseq.evaluation.bulk.workers DESCRIPTOR` is the program of a worker. It exchanges pickled messages with
its parent over a socket. It ends when the socket is closed, as after the end of the parent, or by SIGTERM. Ctrl-C on a
terminal does not reach it: it is not in the process group of its parent.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from slimseq.evaluation.bulk.row_processor import GeneratedRow, RowProcessor
from slimseq.evaluation.bulk.row_settings import RowSettings
from slimseq.inference.generator import open_generator
from slimseq.models_store.errors import SlimseqError, first_line
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

MODULE = "slimseq.evaluation.bulk.workers"
# Environment variables that limit the threads of libraries.
THREADS = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
# Windows that may wait for an earlier one, in multiples of the number of workers. They are in memory.
WINDOWS_AHEAD = 3
# How long a worker that was told to end may take, in seconds.
END_SECONDS = 5.0

Window = TypeVar("Window")


class ArtifactReplaced(SlimseqError):
    """Raised when an artifact is no longer the one that a job is for."""


class WorkerFailed(SlimseqError):
    """Raised when a worker process cannot open the artifact, or has ended."""


@dataclass(frozen=True)
class EngineSetup:
    """What a worker opens.

    Args:
        runtime: None: the first one that can open the artifact.
        threads: number of threads of one worker.
        digest: of the artifact that the job is for. None: whatever the store has.
    """

    store: Path
    task: Task
    variant: str
    settings: RowSettings
    runtime: str | None = None
    threads: int = 1
    digest: str | None = None

    def open(self) -> RowProcessor:
        """Opens the artifact.

        Raises:
            ArtifactReplaced: the store has another artifact of this name by now.
        """
        generator = open_generator(Store(self.store), self.task, self.variant, self.runtime, self.threads)
        if self.digest not in (None, generator.manifest.digest):
            raise ArtifactReplaced(f"{self.task}/{self.variant} was replaced in the store while the job started")
        return RowProcessor(generator, self.settings)


class Worker:
    """A worker process, from the side of its parent."""

    def __init__(self, setup: EngineSetup) -> None:
        own, others = socket.socketpair()
        with others:
            command = [sys.executable, "-m", MODULE, str(others.fileno())]
            # The tokenizer's threads would take the cores of other workers.
            variables = os.environ | dict.fromkeys(THREADS, str(setup.threads))
            self._process = subprocess.Popen(
                command, pass_fds=[others.fileno()], env=variables, stdin=subprocess.DEVNULL, process_group=0
            )
        self.connection = Connection(own.detach())
        self.connection.send(setup)

    def receive(self) -> Any:
        """Waits for the next message: the rows of a window, or None once the worker is ready.

        Raises:
            WorkerFailed: the worker could not open the artifact, or has ended.
        """
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            code = self._process.wait()
            reason = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise WorkerFailed(
                f"a worker process has ended {reason}; with fewer --workers it takes less memory"
            ) from None
        if isinstance(message, str):
            raise WorkerFailed(message)
        return message

    def send(self, texts: Sequence[Any]) -> None:
        # If the worker has ended, `receive` says so.
        try:
            self.connection.send(texts)
        except OSError:
            return

    def stop(self) -> None:
        """Tells the process to end. `join` waits for its end."""
        self._process.terminate()

    def join(self) -> None:
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.connection.close()


class Workers(Generic[Window]):
    """Worker processes. They are started by `with`, which returns when all are ready, and stopped at its end.

    Raises:
        WorkerFailed: the artifact cannot be opened, or the settings are not possible with it.
    """

    def __init__(self, setup: EngineSetup, count: int) -> None:
        self._setup = setup
        self._count = count
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        try:
            # One by one, so that those that were started are stopped if a further one cannot be.
            for _ in range(self._count):
                self._workers.append(Worker(self._setup))
            for worker in self._workers:
                worker.receive()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()

    def run(self, windows: Iterable[tuple[Window, Sequence[Any]]]) -> Iterator[tuple[Window, list[GeneratedRow]]]:
        """Yields windows with their rows, in order. A window comes with its texts.

        Windows are read as they are needed: a few more than there are workers are in memory at a time.
        """
        remaining = enumerate(windows)
        idle = list(self._workers)
        # By connection: the worker, and the number of its window.
        busy: dict[Any, tuple[Worker, int]] = {}
        # By number: windows that were sent, and the rows of those that have come back.
        sent: dict[int, Window] = {}
        received: dict[int, list[GeneratedRow]] = {}
        next_number, has_more = 0, True
        while has_more or sent:
            while idle and has_more and len(sent) < WINDOWS_AHEAD * self._count:
                number, found = next(remaining, (0, None))
                if found is None:
                    has_more = False
                    break
                worker = idle.pop()
                sent[number], texts = found
                worker.send(texts)
                busy[worker.connection] = worker, number
            for connection in wait(list(busy)) if busy else ():
                worker, number = busy.pop(connection)
                received[number] = worker.receive()
                idle.append(worker)
            while next_number in received:
                yield sent.pop(next_number), received.pop(next_number)
                next_number += 1


def main(descriptor: int) -> None:
    """Opens the artifact that the first message names, and answers each window of texts with its rows."""
    # So that the temporary copy of an artifact that is being opened is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    connection = Connection(descriptor)
    try:
        setup: EngineSetup = connection.recv()
        try:
            processor = setup.open()
        except SlimseqError as error:
            connection.send(str(error))
            return
        except Exception as error:
            connection.send(f"a worker process cannot open the artifact: {first_line(error)}")
            return
        connection.send(None)
        while True:
            connection.send(processor.process(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        # The parent has ended.
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
