"""What the generation service asks of experiments: an arm for a request, and a record of each response.

`slimseq.app.jobs.experiments.traffic` implements it. Nothing here waits, because requests do.
"""

import re
import uuid
from dataclasses import dataclass
from typing import Protocol

from slimseq.app.http.schemas.generation import GenerationResponse
from slimseq.models_store.manifest import Task


@dataclass(frozen=True)
class Assignment:
    """The arm of an experiment that a request belongs to. An arm has the name of its variant.

    `unit` is a digest of the unit that keeps the arm, None if the request names none.
    """

    experiment: str
    arm: str
    unit: str | None = None


class Traffic(Protocol):
    """Assigns requests to arms, and remembers responses so that they can get feedback."""

    def assign(self, task: Task, unit: str | None) -> Assignment | None:
        """Returns the arm of a request that names no variant, or None if the task has no running experiment.

        Args:
            task: of the request.
            unit: what keeps its arm, such as a user. None draws an arm for this request.
        """

    def arm_of(self, task: Task, variant: str, unit: str | None) -> Assignment | None:
        """Returns the arm of a variant in the running experiment of a task, or None if it has none.

        Args:
            task: of the variant.
            variant: its name.
            unit: that asks for it.
        """

    def record(self, response: GenerationResponse, assignment: Assignment | None, comparison: str | None) -> None:
        """Remembers a response, without its texts.

        Args:
            response: the response.
            assignment: its arm, if it has one.
            comparison: the id of its comparison, if it is part of one.
        """

    def record_failure(self, task: Task, assignment: Assignment, problem: str) -> None:
        """Counts a request of an arm that the service failed to answer. `problem` is the slug of the problem's type."""


class NoTraffic:
    """The `Traffic` of a service without experiments."""

    def assign(self, task: Task, unit: str | None) -> Assignment | None:
        """Returns None."""

    def arm_of(self, task: Task, variant: str, unit: str | None) -> Assignment | None:
        """Returns None."""

    def record(self, response: GenerationResponse, assignment: Assignment | None, comparison: str | None) -> None:
        """Does nothing."""

    def record_failure(self, task: Task, assignment: Assignment, problem: str) -> None:
        """Does nothing."""


def new_id() -> str:
    """Returns an id for a response or a comparison, which cannot be guessed."""
    return uuid.uuid4().hex


def is_id(text: str) -> bool:
    """Whether a text has the form of an id of `new_id`."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None
