"""The traffic of running experiments: an arm for each request, and counts of its responses and errors, in memory.

`slimseq.app.experiments.traffic_sync` tells which experiments run, and writes the counts. Nothing here waits.
"""

import hashlib
import secrets
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.observability.latency_buckets import ERRORS, bucket_of
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.response_ids import UNIT_DIGITS, Answered, ResponseIds
from slimseq.models_store.manifest import Task

# Experiment, arm and bucket of latency.
Counted = tuple[str, str, int]


@dataclass(frozen=True)
class Assignment:
    """The arm of an experiment that a request belongs to. An arm has the name of its variant.

    `unit` is a digest of the unit that keeps the arm, None if the request names none.
    """

    experiment: str
    arm: str
    unit: str | None = None


@dataclass(frozen=True)
class Split:
    """A running experiment: its id, and the weight of each arm."""

    experiment: str
    weights: Mapping[str, float]

    def assign(self, unit: str | None) -> Assignment:
        """Returns the arm of a unit, which is the same each time, or a random arm if there is no unit."""
        digest = unit_digest(self.experiment, unit) if unit else None
        place = int(digest or secrets.token_hex(UNIT_DIGITS // 2), 16)
        ends = list(accumulate(self.weights.values()))
        found = bisect(ends, place / 16**UNIT_DIGITS * ends[-1])
        return Assignment(self.experiment, list(self.weights)[min(found, len(ends) - 1)], digest)


def unit_digest(experiment: str, unit: str) -> str:
    """Returns what stands for a unit in ids and in the database, from which nobody reads the unit."""
    return hashlib.sha256(f"{experiment}\n{unit}".encode("utf-8", "surrogatepass")).hexdigest()[:UNIT_DIGITS]


class Traffic:
    """Assigns requests to arms, names responses and counts them. Used from the event loop."""

    def __init__(self, metrics: ServiceMetrics) -> None:
        self.ids = ResponseIds()
        self.splits: Mapping[Task, Split] = {}
        self.counts: Counter[Counted] = Counter()
        self._metrics = metrics

    def assign(self, task: Task, unit: str | None) -> Assignment | None:
        """Returns the arm of a request that names no variant, or None if the task has no running experiment.

        Args:
            task: of the request.
            unit: what keeps its arm, such as a user. None draws an arm for this request.
        """
        split = self.splits.get(task)
        return split.assign(unit) if split else None

    def arm_of(self, task: Task, variant: str, unit: str | None) -> Assignment | None:
        """Returns the arm of a variant that a comparison names, or None if it is none of a running experiment."""
        split = self.splits.get(task)
        if split is None or variant not in split.weights:
            return None
        return Assignment(split.experiment, variant, unit_digest(split.experiment, unit) if unit else None)

    def response_id(self, task: Task, variant: str, digest: str, assignment: Assignment | None) -> str:
        """Returns the id of a new response."""
        if assignment is None:
            return self.ids.response(task, variant, digest)
        return self.ids.response(task, variant, digest, assignment.experiment, assignment.unit)

    def comparison_id(self, task: Task, responses: Sequence[GenerationResponse], unit: str | None) -> str:
        """Returns the id of a new comparison, of the variants that answered."""
        answered = [Answered(each.variant, each.digest) for each in responses]
        arms = [arm for each in responses if (arm := self.arm_of(task, each.variant, unit))]
        if not arms:
            return self.ids.comparison(task, answered)
        return self.ids.comparison(task, answered, arms[0].experiment, arms[0].unit)

    def count(self, task: Task, assignment: Assignment, total_ms: float) -> None:
        """Counts a response of an arm."""
        self._metrics.arm_ended(task, assignment.arm)
        self.counts[assignment.experiment, assignment.arm, bucket_of(total_ms)] += 1

    def count_failure(self, task: Task, assignment: Assignment) -> None:
        """Counts a request of an arm that the service failed to answer."""
        self._metrics.arm_ended(task, assignment.arm, has_failed=True)
        self.counts[assignment.experiment, assignment.arm, ERRORS] += 1
