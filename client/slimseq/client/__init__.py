"""A typed client of the service: `Client`, and `AsyncClient` for asyncio.

It speaks HTTP and imports nothing else of Slimseq. `pip install 'slimseq[client]'` installs what it needs.
"""

from slimseq.client.answers import (
    Agreement,
    ComparedGeneration,
    Comparison,
    DiffPart,
    Evaluation,
    ExperimentArm,
    FailedVariant,
    Generation,
    Metric,
    Output,
    OutputWarning,
    Piece,
    Quality,
    Retention,
    Timings,
    Variant,
    VariantScores,
)
from slimseq.client.async_client import AsyncClient
from slimseq.client.calls import Choice, ChosenOptions, ComparedOptions, Options, Task, Terms
from slimseq.client.client import Client
from slimseq.client.errors import (
    ClientError,
    EvaluationFailed,
    ServiceProblem,
    UnexpectedAnswer,
    Unreachable,
    WaitedTooLong,
)
from slimseq.client.experiments import (
    Arm,
    ArmReport,
    Experiment,
    ExperimentConclusion,
    ExperimentSummary,
    Feedback,
    MeanRating,
    PairReport,
    Votes,
)
from slimseq.client.retry import Retry

__all__ = [
    "Agreement",
    "Arm",
    "ArmReport",
    "AsyncClient",
    "Choice",
    "ChosenOptions",
    "Client",
    "ClientError",
    "ComparedGeneration",
    "ComparedOptions",
    "Comparison",
    "DiffPart",
    "Evaluation",
    "EvaluationFailed",
    "Experiment",
    "ExperimentArm",
    "ExperimentConclusion",
    "ExperimentSummary",
    "FailedVariant",
    "Feedback",
    "Generation",
    "MeanRating",
    "Metric",
    "Options",
    "Output",
    "OutputWarning",
    "PairReport",
    "Piece",
    "Quality",
    "Retention",
    "Retry",
    "ServiceProblem",
    "Task",
    "Terms",
    "Timings",
    "UnexpectedAnswer",
    "Unreachable",
    "Variant",
    "VariantScores",
    "Votes",
    "WaitedTooLong",
]
