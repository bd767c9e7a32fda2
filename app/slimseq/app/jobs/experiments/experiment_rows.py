"""What an experiment has counted: the transactions that add to it, and those that read it for a report.

Responses, errors, ratings, votes and agreement are added up as they come, so that a report reads some hundred rows,
however much traffic there was.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from slimseq.app.http.schemas.experiment import Arm
from slimseq.app.jobs.database.tables import ArmRow, CountedUnitRow, ExperimentRow, LatencyRow, PairRow
from slimseq.app.jobs.database.upserts import add_up, insert_missing
from slimseq.app.jobs.experiments.experiment_report import TIE, ArmRecord, PairRecord
from slimseq.app.jobs.experiments.latency_buckets import bucket_of
from slimseq.app.observability.agreement import AgreementSums
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence, WinRate


def existing(session: Session, experiments: Collection[str]) -> set[str]:
    """Returns which of these experiments there are. They stay until the end of the transaction.

    One may have been deleted, and a database that was replaced by an older or an empty one may not have it.
    """
    query = select(ExperimentRow.id).where(ExperimentRow.id.in_(experiments))
    return set(session.scalars(query.with_for_update(read=True, key_share=True))) if experiments else set()


def add_arms(session: Session, experiment: str, arms: Sequence[Arm]) -> None:
    """Adds the rows of a new experiment, in which nothing is counted yet."""
    names = [arm.variant for arm in arms]
    session.add_all([ArmRow(experiment=experiment, arm=name) for name in names])
    session.add_all([PairRow(experiment=experiment, first=one, second=two) for one, two in combinations(names, 2)])


def count_responses(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Counts responses and errors of arms, each with the columns of a `ResponseRow`. Those of comparisons are left."""
    latencies: Counter[tuple[str, str, int]] = Counter()
    errors: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["problem"] is not None:
            errors[row["experiment"], row["arm"]] += 1
        elif row["comparison"] is None:
            latencies[row["experiment"], row["arm"], bucket_of(row["total_ms"])] += 1
    for (experiment, arm), count in sorted(errors.items()):
        _arm(session, experiment, arm).errors += count
    names = ("experiment", "arm", "bucket", "responses")
    counted = [dict(zip(names, (*key, count), strict=True)) for key, count in sorted(latencies.items())]
    add_up(session, LatencyRow, counted)


def count_rating(session: Session, experiment: str, arm: str, unit: str | None, rating: float) -> None:
    """Counts a rating of an arm, if it is the first one of its unit.

    A unit keeps its arm, so that its further ratings say more about the unit than about the arm, and intervals would be
    too narrow.
    """
    if not _is_first(session, experiment, unit):
        return
    row = _arm(session, experiment, arm)
    sequence = _ratings(row)
    sequence.update(rating)
    row.ratings, row.rating_total, row.rating_variation = sequence.count, sequence.total, sequence.variation


def count_vote(session: Session, experiment: str, arms: Sequence[str], unit: str | None, preferred: str | None) -> None:
    """Counts a vote on each pair of arms that it decides, if it is the first one of its unit on that pair.

    Args:
        session: of the transaction.
        experiment: its id.
        arms: that were compared.
        unit: that voted.
        preferred: was better than all others. None if all are equally good: half a vote for each of a pair.
    """
    pairs = select(PairRow).where(PairRow.experiment == experiment, PairRow.first.in_(arms), PairRow.second.in_(arms))
    for row in session.scalars(pairs.order_by(PairRow.first, PairRow.second).with_for_update()):
        decided = preferred is None or preferred in (row.first, row.second)
        if decided and _is_first(session, experiment, unit, row.first, row.second):
            row.votes += 1
            row.wins += TIE if preferred is None else float(preferred == row.first)
            row.ties += preferred is None


def add_agreement(session: Session, experiment: str, arm: str, found: AgreementSums) -> AgreementSums | None:
    """Adds the agreement of outputs of an arm. Returns that of all, None if the experiment is gone."""
    row = session.get(ArmRow, (experiment, arm), with_for_update=True)
    if row is None:
        return None
    sums = _agreement(row).plus(found)
    row.outputs, row.exact = sums.similarity.count, sums.exact
    row.total, row.variation = sums.similarity.total, sums.similarity.variation
    return sums


def arm_records(session: Session, experiment: str) -> Mapping[str, ArmRecord]:
    """Returns what was counted of each arm."""
    latencies: dict[str, dict[int, int]] = {}
    for row in session.scalars(select(LatencyRow).where(LatencyRow.experiment == experiment)):
        latencies.setdefault(row.arm, {})[row.bucket] = row.responses
    return {
        row.arm: ArmRecord(row.errors, latencies.get(row.arm, {}), _ratings(row), _agreement(row))
        for row in session.scalars(select(ArmRow).where(ArmRow.experiment == experiment))
    }


def pair_records(session: Session, experiment: str) -> Mapping[tuple[str, str], PairRecord]:
    """Returns the votes on each pair of arms."""
    return {
        (row.first, row.second): PairRecord(WinRate(wins=row.wins, votes=row.votes), row.ties)
        for row in session.scalars(select(PairRow).where(PairRow.experiment == experiment))
    }


def _arm(session: Session, experiment: str, arm: str) -> ArmRow:
    """Returns the row of an arm, which other transactions do not change until the end of this one."""
    return session.get_one(ArmRow, (experiment, arm), with_for_update=True)


def _ratings(row: ArmRow) -> ConfidenceSequence:
    return ConfidenceSequence(count=row.ratings, total=row.rating_total, variation=row.rating_variation)


def _agreement(row: ArmRow) -> AgreementSums:
    return AgreementSums.of(row.outputs, row.exact, row.total, row.variation)


def _is_first(session: Session, experiment: str, unit: str | None, first: str = "", second: str = "") -> bool:
    """Whether a unit has not been counted before. It is from now on. Judgements without a unit always count."""
    if unit is None:
        return True
    row = {"experiment": experiment, "unit": unit, "first": first, "second": second}
    return bool(insert_missing(session, CountedUnitRow, [row], CountedUnitRow.unit))
