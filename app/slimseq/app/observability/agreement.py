"""Agreement of live outputs with the reference's: one always-valid interval for each artifact, and no texts.

`slimseq.app.jobs.shadowing.kept_agreement` writes what was measured to the database, and reads what was there before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from slimseq.app.http.schemas.quality import LiveAgreement
from slimseq.evaluation.agreement import SIMILARITY_METRIC, Agreement
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.models_store.manifest import Task


class Compared(NamedTuple):
    """What is compared on live requests: an artifact with its reference, by their digests."""

    task: Task
    digest: str
    reference: str


class ArmKey(NamedTuple):
    """An arm of an experiment."""

    experiment: str
    arm: str


Key = Compared | ArmKey


@dataclass(frozen=True)
class AgreementSums:
    """The agreement of some outputs: how many were equal, and how similar they were. An exact one is equal."""

    exact: int = 0
    similarity: ConfidenceSequence = field(default_factory=ConfidenceSequence)

    @classmethod
    def of(cls, outputs: int, exact: int, total: float, variation: float) -> Self:
        """Returns the sums that the columns of a row have."""
        return cls(exact, ConfidenceSequence(count=outputs, total=total, variation=variation))

    def plus(self, other: Self) -> Self:
        """Returns the agreement of all outputs of both."""
        return type(self)(self.exact + other.exact, self.similarity.plus(other.similarity))

    def minus(self, earlier: Self) -> Self:
        """Returns the agreement of the outputs since then."""
        return type(self)(self.exact - earlier.exact, self.similarity.minus(earlier.similarity))

    def report(self, task: Task) -> LiveAgreement | None:
        """Returns what they show, None if there are none."""
        outputs, mean = self.similarity.count, self.similarity.mean
        if mean is None:
            return None
        return LiveAgreement(
            metric=SIMILARITY_METRIC[task],
            outputs=outputs,
            exact=self.exact / outputs,
            similarity=mean,
            interval=self.similarity.interval(),
        )


NOTHING = AgreementSums()


class AgreementMonitor:
    """What was measured: by this process, and by all before it and beside it. Used from the event loop."""

    def __init__(self) -> None:
        self._all: dict[Key, AgreementSums] = {}
        # What the database has of it.
        self._kept: dict[Key, AgreementSums] = {}

    def record(self, compared: Compared, found: Sequence[Agreement], arm: ArmKey | None = None) -> None:
        """Adds the agreement of a request's outputs, also to that of its arm if it has one."""
        keys: list[Key] = [compared] if arm is None else [compared, arm]
        for key in keys:
            sums = self._all.get(key, NOTHING)
            similarity = sums.similarity.model_copy()
            for each in found:
                similarity.update(each.similarity)
            self._all[key] = AgreementSums(sums.exact + sum(each.is_exact for each in found), similarity)

    def report(self, compared: Compared) -> LiveAgreement | None:
        """Returns the agreement of an artifact with its reference, None if none of its outputs was compared."""
        return self._all.get(compared, NOTHING).report(compared.task)

    def unkept(self) -> Mapping[Key, AgreementSums]:
        """Returns what the database does not have."""
        news = {key: sums.minus(self._kept.get(key, NOTHING)) for key, sums in self._all.items()}
        return {key: sums for key, sums in news.items() if sums.similarity.count}

    def keep(self, added: Mapping[Key, AgreementSums], stored: Mapping[Key, AgreementSums]) -> None:
        """Takes note of what the database has.

        Args:
            added: what was added to it, of which it keeps nothing that is not in `stored`.
            stored: what it has now.
        """
        for key in added.keys() - stored.keys():
            self._all.pop(key, None)
            self._kept.pop(key, None)
        for key, sums in stored.items():
            news = self._all.get(key, NOTHING).minus(self._kept.get(key, NOTHING)).minus(added.get(key, NOTHING))
            self._kept[key], self._all[key] = sums, sums.plus(news)
