"""Agreement of live outputs with the reference's: one always-valid interval for each variant, and no texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from slimseq.app.http.schemas.quality import LiveAgreement
from slimseq.evaluation.agreement import SIMILARITY_METRIC, Agreement
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.manifest import Task


@dataclass
class _Measured:
    """The agreement of one artifact with one reference."""

    digests: tuple[str, str]
    exact: int = 0
    similarity: ConfidenceSequence = field(default_factory=ConfidenceSequence)


class AgreementMonitor:
    """The agreement of each variant since the process started. Used from the event loop."""

    def __init__(self) -> None:
        self._measured: dict[tuple[Task, str], _Measured] = {}

    def record(self, task: Task, variant: str, digests: tuple[str, str], found: Sequence[Agreement]) -> None:
        """Adds the agreement of a request's outputs.

        Args:
            task: of the variant.
            variant: its name.
            digests: of its artifact and of its reference. If one of them was replaced, the measurement starts again.
            found: of each output.
        """
        measured = self._measured.get((task, variant))
        if measured is None or measured.digests != digests:
            measured = self._measured[task, variant] = _Measured(digests)
        for each in found:
            measured.exact += each.is_exact
            measured.similarity.update(each.similarity)

    def report(self, task: Task, variant: str, digest: str) -> LiveAgreement | None:
        """Returns the agreement of an artifact, None if none of its outputs was compared."""
        measured = self._measured.get((task, variant))
        if measured is None or measured.digests[0] != digest:
            return None
        outputs, similarity = measured.similarity.count, measured.similarity.mean
        if similarity is None:
            return None
        return LiveAgreement(
            metric=SIMILARITY_METRIC[task],
            outputs=outputs,
            exact=measured.exact / outputs,
            similarity=similarity,
            interval=measured.similarity.interval(),
        )
