"""Makes a job of a posted evaluation: its variants known, its examples bounded, its data set one that has a name."""

import importlib.util
from collections.abc import Callable

from app.errors import InvalidRequest
from app.schemas.evaluation import PAIR_KEYS, EvaluationJob, EvaluationRequest
from app.serving.chooser import Chooser
from app.serving.evaluation_job import Job
from app.serving.evaluations import EvaluationJobs
from evaluation.datasets import BUNDLED, dataset_names, load_examples
from evaluation.examples import DatasetSample, Example
from models_store.manifest import Task


class EvaluationService:
    """What the routes of `/evaluations` call."""

    def __init__(self, chooser: Chooser, jobs: EvaluationJobs, max_pairs: int) -> None:
        self._chooser = chooser
        self._jobs = jobs
        self._max_pairs = max_pairs

    def post(self, request: EvaluationRequest) -> EvaluationJob:
        """Queues an evaluation.

        Raises:
            UnknownVariant: there is no variant of a name.
            InvalidRequest: there is no such data set, or there are too many examples.
            Overloaded: too many evaluations wait already.
        """
        for variant in request.variants:
            self._chooser.check_exists(request.task, variant)
        references = self._chooser.references(request.task, request.variants)
        job = Job(request.task, list(request.variants), self._sample(request), references)
        return answer_of(self._jobs.submit(job))

    def get(self, identifier: str) -> EvaluationJob:
        """Returns where an evaluation stands.

        Raises:
            UnknownEvaluation: there is none of that id.
        """
        return answer_of(self._jobs.find(identifier))

    def cancel(self, identifier: str) -> EvaluationJob:
        """Ends an evaluation that has not ended.

        Raises:
            UnknownEvaluation: there is none of that id.
        """
        return answer_of(self._jobs.cancel(identifier))

    def _sample(self, request: EvaluationRequest) -> Callable[[], DatasetSample]:
        asked = len(request.pairs) if request.pairs is not None else request.samples or self._max_pairs
        if asked > self._max_pairs:
            field = "pairs" if request.pairs is not None else "samples"
            raise InvalidRequest(f"{field}: {asked} are too many; at most {self._max_pairs} an evaluation")
        task, dataset = request.task, request.dataset
        if request.pairs is not None:
            source, target = PAIR_KEYS[task]
            examples = tuple(Example(pair[source], pair[target]) for pair in request.pairs)
            return lambda: DatasetSample("pairs", "posted", examples)
        # A path would let a client read this machine's files: only names are taken.
        if dataset not in known_datasets(task):
            raise InvalidRequest(f"dataset: there is no {dataset!r} here; there is {', '.join(known_datasets(task))}")
        return lambda: load_examples(task, dataset or BUNDLED, samples=asked)


def known_datasets(task: Task) -> tuple[str, ...]:
    """Returns the data sets that can be named here: the bundled one, and the hub's where its library is installed."""
    return dataset_names(task) if importlib.util.find_spec("datasets") else (BUNDLED,)


def answer_of(job: Job) -> EvaluationJob:
    """Describes a job for the client."""
    answer = EvaluationJob(
        id=job.identifier,
        status=job.status,
        progress=job.progress,
        task=job.task,
        variants=list(job.variants),
        created_at=job.created_at,
        error=job.error,
    )
    found = job.results
    if found is None or not job.status.is_final:
        return answer
    return answer.model_copy(
        update={
            "dataset": found.dataset,
            "samples": found.samples,
            "baseline": found.baseline,
            "results": list(found.variants),
        }
    )
