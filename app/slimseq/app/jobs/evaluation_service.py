"""The service of the `/evaluations` routes: checks a posted evaluation and makes a job of it."""

import importlib.util

from pydantic_core import to_json

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.schemas.evaluation import (
    PAIR_KEYS,
    EvaluationJob,
    EvaluationList,
    EvaluationRequest,
    EvaluationSummary,
)
from slimseq.app.jobs.evaluations import EvaluationJobs, Job
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.evaluation.datasets import BUNDLED, dataset_names
from slimseq.models_store.manifest import Task

# Name of the data set of posted pairs.
POSTED = "pairs"


class EvaluationService:
    """Submits, lists and cancels evaluations."""

    def __init__(self, chooser: Chooser, jobs: EvaluationJobs, max_pairs: int) -> None:
        self._chooser = chooser
        self._jobs = jobs
        self._max_pairs = max_pairs

    def post(self, request: EvaluationRequest) -> EvaluationJob:
        """Queues an evaluation.

        Raises:
            UnknownVariant: there is no variant of a name.
            InvalidRequest: there is no such data set, or there are too many samples.
            Overloaded: too many evaluations are queued.
        """
        for variant in request.variants:
            self._chooser.check_exists(request.task, variant)
        return _described(self._jobs.submit(self._job(request)))

    def list(self) -> EvaluationList:
        """Returns all evaluations, without their results."""
        summaries = [EvaluationSummary.model_validate(job, from_attributes=True) for job in self._jobs.newest_first()]
        return EvaluationList(evaluations=summaries)

    def get(self, identifier: str) -> EvaluationJob:
        """Returns an evaluation.

        Raises:
            UnknownEvaluation: there is no evaluation with that id.
        """
        return _described(self._jobs.find(identifier))

    def cancel(self, identifier: str) -> EvaluationJob:
        """Cancels an evaluation, unless it has ended.

        Raises:
            UnknownEvaluation: there is no evaluation with that id.
        """
        return _described(self._jobs.cancel(identifier))

    def _job(self, request: EvaluationRequest) -> Job:
        count = len(request.pairs) if request.pairs is not None else request.samples or self._max_pairs
        if count > self._max_pairs:
            field = "pairs" if request.pairs is not None else "samples"
            raise InvalidRequest(f"{field}: {count} are too many; at most {self._max_pairs} are allowed")
        task, variants = request.task, tuple(request.variants)
        references = self._chooser.references(task, variants)
        if request.pairs is not None:
            source, target = PAIR_KEYS[task]
            pairs = to_json([(pair[source], pair[target]) for pair in request.pairs])
            return Job(task, variants, POSTED, count, pairs, references)
        # Only names are allowed: a path would let a client read files of this machine.
        if request.dataset not in known_datasets(task):
            known = ", ".join(known_datasets(task))
            raise InvalidRequest(f"dataset: there is no {request.dataset!r} here; there is {known}")
        return Job(task, variants, request.dataset, count, references=references)


def known_datasets(task: Task) -> tuple[str, ...]:
    """Returns the names of the data sets: the bundled one, and those of the hub if its library is installed."""
    return dataset_names(task) if importlib.util.find_spec("datasets") else (BUNDLED,)


def _described(job: Job) -> EvaluationJob:
    return EvaluationJob.model_validate(job, from_attributes=True)
