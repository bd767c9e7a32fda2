"""A typed client of the service: `Client`, and `AsyncClient` for asyncio.

It speaks HTTP and imports nothing else of Slimseq. `pip install 'slimseq[client]'` installs what it needs.
"""

from slimseq.client.answers import (
    Comparison,
    Evaluation,
    FailedVariant,
    Generation,
    Metric,
    Output,
    Piece,
    Quality,
    Retention,
    Timings,
    Variant,
    VariantScores,
)
from slimseq.client.async_client import AsyncClient
from slimseq.client.calls import Options, Task
from slimseq.client.client import Client
from slimseq.client.errors import (
    ClientError,
    EvaluationFailed,
    ServiceProblem,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)
from slimseq.client.retry import Retry

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Comparison",
    "Evaluation",
    "EvaluationFailed",
    "FailedVariant",
    "Generation",
    "Metric",
    "Options",
    "Output",
    "Piece",
    "Quality",
    "Retention",
    "Retry",
    "ServiceProblem",
    "Task",
    "Timings",
    "UnexpectedAnswer",
    "Unreachable",
    "Variant",
    "VariantScores",
    "WaitedTooLong",
]
