"""Agreement of live outputs with the reference's: one always-valid interval for each artifact, and no texts.

It is that of this process since its start, and of no other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import BaseModel, Field

from slimseq.evaluation.agreement import SIMILARITY_METRIC, OutputAgreement
from slimseq.evaluation.record import least_agreement
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.manifest import Manifest, Task


class Compared(NamedTuple):
    """What is compared on live requests: an artifact with its reference, by their digests."""

    task: Task
    digest: str
    reference: str


class OfflineAgreement(BaseModel):
    """How close the variant's outputs are to its reference's: the least over the recorded data sets."""

    metric: str = Field(description="Metric of the similarity: `chrf` (divided by 100) or `rougeL`.")
    exact: float = Field(description="Share of outputs that are equal to the reference's.")
    similarity: float = Field(description="Mean similarity to the reference's output, between 0 and 1.")
    interval: tuple[float, float] = Field(description="95 % bootstrap interval of the similarity.")
    dataset: str
    split: str
    samples: int


class LiveAgreement(BaseModel):
    """How close the outputs of live requests are to the reference's, since both artifacts were first compared."""

    metric: str = Field(description="Metric of the similarity: `chrf` (divided by 100) or `rougeL`.")
    outputs: int = Field(description="Number of compared outputs.")
    exact: float = Field(description="Share of outputs that are equal to the reference's.")
    similarity: float = Field(description="Mean similarity to the reference's output, between 0 and 1.")
    interval: tuple[float, float] = Field(
        description="95 % interval of the similarity. It is valid whenever, and however often, one looks."
    )


@dataclass
class _Sums:
    """How many outputs were equal, and how similar all were. An exact one is equal."""

    exact: int = 0
    similarity: ConfidenceSequence = field(default_factory=ConfidenceSequence)


class AgreementMonitor:
    """What this process has measured. Used from the event loop."""

    def __init__(self) -> None:
        self._measured: dict[Compared, _Sums] = {}

    def record(self, compared: Compared, found: Sequence[OutputAgreement]) -> None:
        """Adds the agreement of a request's outputs."""
        sums = self._measured.setdefault(compared, _Sums())
        for each in found:
            sums.exact += each.is_exact
            sums.similarity.update(each.similarity)

    def report(self, compared: Compared) -> LiveAgreement | None:
        """Returns the agreement of an artifact with its reference, None if none of its outputs was compared."""
        sums = self._measured.get(compared)
        if sums is None or sums.similarity.mean is None:
            return None
        return LiveAgreement(
            metric=SIMILARITY_METRIC[compared.task],
            outputs=sums.similarity.count,
            exact=sums.exact / sums.similarity.count,
            similarity=sums.similarity.mean,
            interval=sums.similarity.interval(),
        )


def offline_agreement(manifest: Manifest, manifests: Sequence[Manifest]) -> OfflineAgreement | None:
    """Returns the recorded agreement of a variant with its reference."""
    score = least_agreement(manifest, manifests)
    if score is None or score.agreement is None:
        return None
    return OfflineAgreement(
        **score.agreement.model_dump(), dataset=score.dataset, split=score.split, samples=score.samples
    )
