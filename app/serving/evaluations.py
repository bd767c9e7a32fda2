"""Quality evaluations as jobs of this process: one runs at a time, through the workers that serve live requests."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

from app.errors import InternalError, Overloaded, ShuttingDown, UnknownEvaluation
from app.problems import problem_of
from app.serving.evaluation_job import Job, Status
from app.serving.plan import plan_of
from app.serving.pool import Pool
from app.serving.prompt import Prompt
from evaluation.examples import Example
from evaluation.results import Evaluation
from evaluation.run import EvaluationCancelled, Generate, evaluate
from models_store.errors import SlimseqError
from models_store.generator import TextOutput
from models_store.manifest import Task

CHUNK_TIMEOUT_SECONDS = 1800.0
POLL_SECONDS = 0.1

logger = logging.getLogger(__name__)


class EvaluationJobs:
    """The jobs, in the order of their posting. Used from the event loop."""

    def __init__(self, pool: Pool, max_queued: int, max_kept: int) -> None:
        self._pool = pool
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

    def cancel(self, identifier: str) -> Job:
        """Ends a job that has not ended; a running one stops at its next token.

        Raises:
            UnknownEvaluation: there is none of that id.
        """
        job = self.find(identifier)
        job.wants_to_stop.set()
        job.finish(Status.CANCELLED)
        return job

    async def close(self) -> None:
        """Cancels every job and waits until none runs."""
        self._is_closing = True
        for identifier in self._jobs:
            self.cancel(identifier)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        async with self._turn:
            if job.status.is_final:
                return
            job.status = Status.RUNNING
            try:
                job.results = await asyncio.to_thread(self._evaluate, job, asyncio.get_running_loop())
                job.progress = 1.0
                job.finish(Status.SUCCEEDED)
            except EvaluationCancelled:
                job.finish(Status.CANCELLED)
            except SlimseqError as error:
                job.error = problem_of(error)
                job.finish(Status.FAILED)
            except Exception:
                logger.exception("evaluation failed", extra={"evaluation": job.identifier})
                job.error = problem_of(InternalError())
                job.finish(Status.FAILED)

    def _evaluate(self, job: Job, loop: asyncio.AbstractEventLoop) -> Evaluation:
        def progress(done: int, whole: int) -> None:
            job.progress = round(done / whole, 4)

        return evaluate(
            job.task,
            job.sample(),
            {name: self._system(job, name, loop) for name in job.variants},
            job.references,
            progress=progress,
            is_cancelled=job.wants_to_stop.is_set,
        )

    def _system(self, job: Job, variant: str, loop: asyncio.AbstractEventLoop) -> Generate:
        def generate(examples: Sequence[Example]) -> list[TextOutput]:
            chunk = self._generate(job.task, variant, examples)
            return _result(asyncio.run_coroutine_threadsafe(chunk, loop), job.wants_to_stop)

        return generate

    async def _generate(self, task: Task, variant: str, examples: Sequence[Example]) -> list[TextOutput]:
        async with self._pool.lease(task, variant) as loaded:
            prompt = Prompt(texts=[example.source for example in examples])
            planned = await plan_of(loaded.generator, prompt)
            while True:
                deadline = time.monotonic() + CHUNK_TIMEOUT_SECONDS
                try:
                    submission = loaded.worker.submit(planned.rows, planned.options, deadline)
                except Overloaded:
                    # Live requests come first: an evaluation waits until there is room.
                    await asyncio.sleep(1)
                    continue
                return planned.assemble((await loaded.worker.wait(submission)).outputs)

    def _forget_old(self) -> None:
        ended = [identifier for identifier, job in self._jobs.items() if job.status.is_final]
        for identifier in ended[: max(len(ended) - self._max_kept, 0)]:
            del self._jobs[identifier]


def _result(future: "Future[list[TextOutput]]", wants_to_stop: threading.Event) -> list[TextOutput]:
    """Waits for a chunk, and abandons it as soon as the job is to stop."""
    while True:
        with contextlib.suppress(TimeoutError):
            return future.result(timeout=POLL_SECONDS)
        if wants_to_stop.is_set():
            future.cancel()
            raise EvaluationCancelled("the evaluation was cancelled")
