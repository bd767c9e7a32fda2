"""The data of one request for a generation, from its route to its response."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from slimseq.app.generate.schemas import GenerationResponse
from slimseq.app.http.callers import Admission
from slimseq.app.serving.batching.request import Due
from slimseq.app.serving.selection.chooser import RequestedVariant
from slimseq.app.serving.traffic import Assignment
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.manifest import Task


class CallTerms(NamedTuple):
    """What a request says beside its texts and the choice of its variant. The `unit` keeps its arm of an experiment."""

    due: Due
    unit: str | None = None


@dataclass
class Call:
    """A request for a generation, and what the service finds out while it answers the request.

    Args:
        started: time of `time.monotonic`.
        assignment: the arm of an experiment that the response counts for.
        is_compared: whether the call is a part of a comparison.
        reason: why the limits of the request selected the variant.
        pivot_response: for a translation by way of a pivot language, the translation into the pivot. Its outputs are
            the texts of the prompt from then on.
    """

    task: Task
    prompt: Prompt
    choice: RequestedVariant
    terms: CallTerms
    admission: Admission
    started: float = field(default_factory=time.monotonic)
    assignment: Assignment | None = None
    is_compared: bool = False
    reason: str | None = None
    pivot_response: GenerationResponse | None = None


def with_languages(prompt: Prompt, task: Task, pair: Sequence[str] | None) -> Prompt:
    """Returns a translation's prompt with source and target of a pair, which models of many languages need."""
    # Summaries have a single language.
    if pair is None or len(pair) != 2 or task is not Task.TRANSLATION:
        return prompt
    source, target = pair
    return replace(prompt, source=source, target=target)
