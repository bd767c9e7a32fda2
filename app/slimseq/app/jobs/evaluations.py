"""Quality evaluations as jobs: one runs at a time, in a process of its own."""

import asyncio
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from slimseq.app.errors import EvaluationEnded, InternalError, Overloaded, ShuttingDown, UnknownEvaluation
from slimseq.app.http.problems import Problem, problem_of
from slimseq.app.http.schemas.evaluation import Status
from slimseq.app.jobs.evaluation_process import EvaluationOrder, EvaluationProcess
from slimseq.app.serving.selection.runtimes import RuntimeChooser
from slimseq.evaluation.results import BaselineResult, Evaluation, VariantResult
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

logger = logging.getLogger(__name__)


@dataclass
class Job:
    """One evaluation: the request, its status and its results.

    Args:
        task: of all variants.
        variants: their names.
        dataset: name of the data set.
        samples: maximum number of samples; once the job succeeded, the number that was evaluated.
        pairs: the posted pairs as `EvaluationOrder` describes, until the process has them or the job has ended.
        references: the reference of each variant, if it is one of them.
    """

    task: Task
    variants: Sequence[str]
    dataset: str
    samples: int
    pairs: bytes = b""
    references: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: Status = Status.QUEUED
    progress: float = 0.0
    evaluation: Evaluation | None = None
    error: Problem | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    process: EvaluationProcess = field(default_factory=EvaluationProcess)

    @property
    def baseline(self) -> BaselineResult | None:
        """The scores of the trivial baseline, once the job succeeded."""
        return self.evaluation.baseline if self.evaluation else None

    @property
    def results(self) -> Sequence[VariantResult] | None:
        """The results of the variants, once the job succeeded."""
        return self.evaluation.variants if self.evaluation else None

    def take_pairs(self) -> bytes:
        """Returns the pairs, and frees them here."""
        pairs, self.pairs = self.pairs, b""
        return pairs

    def succeed(self, evaluation: Evaluation) -> None:
        """Ends the job with its results, unless it has ended."""
        if not self.status.is_final:
            self.status, self.progress = Status.SUCCEEDED, 1.0
            self.evaluation, self.samples = evaluation, evaluation.samples

    def fail(self, error: Problem) -> None:
        """Ends the job with an error, unless it has ended."""
        if not self.status.is_final:
            self.status, self.error = Status.FAILED, error
            self.take_pairs()

    def cancel(self) -> None:
        """Cancels the job, unless it has ended. Its process is killed and its pairs are freed."""
        if not self.status.is_final:
            self.status = Status.CANCELLED
            self.take_pairs()
            self.process.kill()


class EvaluationJobs:
    """The jobs, in the order of submission. Used from the event loop."""

    def __init__(
        self, store: Path, runtimes: RuntimeChooser, max_queued: int, max_kept: int, timeout_seconds: float = 3600
    ) -> None:
        """Starts without jobs.

        Args:
            store: folder of the artifacts.
            runtimes: selects the runtime of a variant.
            max_queued: maximum number of queued jobs.
            max_kept: maximum number of ended jobs that are kept.
            timeout_seconds: maximum duration of a job.
        """
        self._store = store
        self._runtimes = runtimes
        self._max_queued = max_queued
        self._max_kept = max_kept
        self._timeout_seconds = timeout_seconds
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    def submit(self, job: Job) -> Job:
        """Queues a job.

        Raises:
            Overloaded: too many jobs are queued.
            ShuttingDown: the service is stopping.
        """
        if self._is_closing:
            raise ShuttingDown()
        waiting = sum(each.status is Status.QUEUED for each in self._jobs.values())
        if waiting >= self._max_queued:
            raise Overloaded(f"{waiting} evaluations are queued", retry_after_seconds=30)
        self._jobs[job.id] = job
        self._forget_old()
        task = asyncio.create_task(self._run(job), name=f"evaluation {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, identifier: str) -> Job:
        """Returns a job.

        Raises:
            UnknownEvaluation: there is no job with that id.
        """
        if identifier not in self._jobs:
            raise UnknownEvaluation(identifier)
        return self._jobs[identifier]

    def newest_first(self) -> Iterable[Job]:
        """Returns all jobs, the newest first."""
        return reversed(self._jobs.values())

    def cancel(self, identifier: str) -> Job:
        """Cancels a job, unless it has ended. The process of a running job is killed.

        Raises:
            UnknownEvaluation: there is no job with that id.
        """
        job = self.find(identifier)
        job.cancel()
        return job

    async def close(self) -> None:
        """Cancels all jobs and waits for their end."""
        self._is_closing = True
        for job in self._jobs.values():
            job.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        async with self._turn:
            if job.status.is_final:
                return
            job.status = Status.RUNNING
            timer = asyncio.get_running_loop().call_later(self._timeout_seconds, self._expire, job)
            try:
                job.succeed(await self._evaluate(job))
            except SlimseqError as error:
                job.fail(problem_of(error))
            except Exception:
                logger.exception("evaluation failed", extra={"evaluation": job.id})
                job.fail(problem_of(InternalError()))
            finally:
                timer.cancel()

    def _expire(self, job: Job) -> None:
        limit = f"it exceeded the limit of {self._timeout_seconds:g} s; evaluate fewer or shorter texts"
        job.fail(problem_of(EvaluationEnded(limit)))
        job.process.kill()

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
