"""Agreement of live outputs with those of another variant: one always-valid interval for each artifact, and no texts.

`slimseq.app.shadowing` lets the other variant answer again, and records how close both outputs are. Each process has
measured for itself since its start.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from slimseq.answers import Similarity
from slimseq.evaluation.agreement import SIMILARITY_METRIC, OutputAgreement
from slimseq.evaluation.retention import least_agreement
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.lineage import root_of
from slimseq.models_store.manifest import Manifest, Task


class ComparedArtifacts(NamedTuple):
    """What is compared on live requests: an artifact with another one, by their digests."""

    task: Task
    digest: str
    other: str


class OfflineAgreement(Similarity):
    """How close the variant's outputs are to its reference's: the least over the recorded data sets."""

    interval: tuple[float, float] = Field(description="95 % bootstrap interval of the similarity.")
    dataset: str
    split: str
    samples: int


class LiveAgreement(Similarity):
    """How close the outputs of live requests are to another variant's, since both artifacts were first compared."""

    other: str = Field(description="Digest of the other artifact, which answered them again.")
    outputs: int = Field(description="Number of compared outputs.")
    interval: tuple[float, float] = Field(
        description="95 % interval of the similarity. It is valid whenever, and however often, one looks."
    )


class AgreementMonitor:
    """The agreement that this process has measured. Used from the event loop.

    `others` are the variants of the setting, by task. All variants of the task are compared with it, in place of their
    reference.
    """

    def __init__(self, others: Mapping[Task, str | None] | None = None) -> None:
        self._others = others or {}
        self._exact: Counter[ComparedArtifacts] = Counter()
        self._similarity: defaultdict[ComparedArtifacts, ConfidenceSequence] = defaultdict(ConfidenceSequence)

    def other_of(self, manifest: Manifest, manifests: Sequence[Manifest]) -> Manifest | None:
        """Returns the artifact that one is compared with, None if there is none, or none of the same languages."""
        name = self._others.get(manifest.task)
        if name is None:
            return root_of(manifest, manifests)
        fitting = (each for each in manifests if each.variant == name and each.languages == manifest.languages)
        return next(fitting, None)

    def record(self, compared: ComparedArtifacts, found: Sequence[OutputAgreement]) -> None:
        for each in found:
            self._exact[compared] += each.is_exact
            self._similarity[compared].update(each.similarity)

    def report(self, compared: ComparedArtifacts) -> LiveAgreement | None:
        """Returns the agreement of an artifact with another one, None if none of its outputs was compared."""
        similarity = self._similarity.get(compared)
        if similarity is None or similarity.mean is None:
            return None
        return LiveAgreement(
            other=compared.other,
            metric=SIMILARITY_METRIC[compared.task],
            outputs=similarity.count,
            exact=self._exact[compared] / similarity.count,
            similarity=similarity.mean,
            interval=similarity.interval(),
        )


def offline_agreement(manifest: Manifest, manifests: Sequence[Manifest]) -> OfflineAgreement | None:
    """Returns the agreement that the manifest of a variant records, None if there is none."""
    score = least_agreement(manifest, manifests)
    if score is None or score.agreement is None:
        return None
    return OfflineAgreement(
        **score.agreement.model_dump(), dataset=score.dataset, split=score.split, samples=score.samples
    )
