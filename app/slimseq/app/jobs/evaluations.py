"""Quality evaluations as jobs of the service: one runs at a time, in a process of its own."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from slimseq.app.errors import InternalError, Overloaded, ShuttingDown, UnknownEvaluation
from slimseq.app.http.problems import problem_of
from slimseq.app.jobs.evaluation_job import Job, Status
from slimseq.app.jobs.evaluation_order import EvaluationOrder
from slimseq.app.serving.runtimes import RuntimeChooser
from slimseq.evaluation.results import Evaluation
from slimseq.models_store.errors import SlimseqError

logger = logging.getLogger(__name__)


class EvaluationJobs:
    """The jobs, in the order of their posting. Used from the event loop."""

    def __init__(self, store: Path, runtimes: RuntimeChooser, max_queued: int, max_kept: int) -> None:
        """Has no jobs yet.

        Args:
            store: folder of the artifacts.
            runtimes: says what opens a variant.
            max_queued: jobs that may wait.
            max_kept: ended jobs that are remembered.
        """
        self._store = store
        self._runtimes = runtimes
        self._max_queued = max_queued
        self._max_kept = max_kept
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def submit(self, job: Job) -> Job:
        """Queues a job.

        Raises:
            Overloaded: too many wait already.
            ShuttingDown: the service is stopping.
        """
        if self._is_closing:
            raise ShuttingDown()
        waiting = sum(each.status is Status.QUEUED for each in self._jobs.values())
        if waiting >= self._max_queued:
            raise Overloaded(f"{waiting} evaluations are waiting already", retry_after_seconds=30)
        self._jobs[job.identifier] = job
        self._forget_old()
        task = asyncio.create_task(self._run(job), name=f"evaluation {job.identifier}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, identifier: str) -> Job:
        """Returns a job.

        Raises:
            UnknownEvaluation: there is none of that id.
        """
        if identifier not in self._jobs:
            raise UnknownEvaluation(identifier)
        return self._jobs[identifier]

    def newest_first(self) -> Iterable[Job]:
        """Returns every job that is remembered."""
        return reversed(self._jobs.values())

    def cancel(self, identifier: str) -> Job:
        """Ends a job that has not ended; the process of a running one is killed.

        Raises:
            UnknownEvaluation: there is none of that id.
        """
        job = self.find(identifier)
        job.cancel()
        return job

    async def close(self) -> None:
        """Cancels every job and waits until none runs."""
        self._is_closing = True
        for job in self._jobs.values():
            job.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        async with self._turn:
            if job.status.is_final:
                return
            job.status = Status.RUNNING
            try:
                job.succeed(await self._evaluate(job))
            except SlimseqError as error:
                job.fail(problem_of(error))
            except Exception:
                logger.exception("evaluation failed", extra={"evaluation": job.identifier})
                job.fail(problem_of(InternalError()))

    async def _evaluate(self, job: Job) -> Evaluation:
        def progress(part: float) -> None:
            job.progress = part

        order = EvaluationOrder(
            store=str(self._store),
            task=job.task,
            runtimes={variant: self._runtimes.choose(job.task, variant) for variant in job.variants},
            references=dict(job.references),
            dataset=job.dataset,
            samples=job.samples,
            pair_bytes=len(job.pairs),
        )
        return await asyncio.to_thread(job.process.run, order, job.take_pairs, progress)

    def _forget_old(self) -> None:
        ended = [identifier for identifier, job in self._jobs.items() if job.status.is_final]
        for identifier in ended[: max(len(ended) - self._max_kept, 0)]:
            del self._jobs[identifier]
