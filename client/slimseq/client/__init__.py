"""A typed client of the service: `Client`, and `AsyncClient` for asyncio. `slimseq.client.answers` has all answers.

It speaks HTTP and imports nothing else of Slimseq. `pip install 'slimseq[client]'` installs what it needs.
"""

from slimseq.client.answers import (
    ComparedGeneration,
    Comparison,
    Evaluation,
    Experiment,
    FailedVariant,
    Feedback,
    Generation,
    Output,
    OutputWarning,
    Piece,
    Quality,
    Variant,
)
from slimseq.client.calls import Choice, Options, Task, Terms
from slimseq.client.client import AsyncClient, Client
from slimseq.client.errors import (
    ClientError,
    EvaluationFailed,
    Retry,
    ServiceProblem,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)

__all__ = [
    "AsyncClient",
    "Choice",
    "Client",
    "ClientError",
    "ComparedGeneration",
    "Comparison",
    "Evaluation",
    "EvaluationFailed",
    "Experiment",
    "FailedVariant",
    "Feedback",
    "Generation",
    "Options",
    "Output",
    "OutputWarning",
    "Piece",
    "Quality",
    "Retry",
    "ServiceProblem",
    "Task",
    "Terms",
    "UnexpectedAnswer",
    "Unreachable",
    "Variant",
    "WaitedTooLong",
]
