"""Agreement of live outputs with the reference's: one always-valid interval for each artifact, and no texts.

It is that of this process since its start, and of no other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from slimseq.app.http.schemas.quality import LiveAgreement
from slimseq.evaluation.agreement import SIMILARITY_METRIC, Agreement
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.manifest import Task


class Compared(NamedTuple):
    """What is compared on live requests: an artifact with its reference, by their digests."""

    task: Task
    digest: str
    reference: str


@dataclass
class _Sums:
    """How many outputs were equal, and how similar all were. An exact one is equal."""

    exact: int = 0
    similarity: ConfidenceSequence = field(default_factory=ConfidenceSequence)


class AgreementMonitor:
    """What this process has measured. Used from the event loop."""

    def __init__(self) -> None:
        self._measured: dict[Compared, _Sums] = {}

    def record(self, compared: Compared, found: Sequence[Agreement]) -> None:
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
