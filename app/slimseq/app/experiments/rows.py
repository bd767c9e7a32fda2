"""The tables of experiments and feedback, and the transactions on them.

- `TrafficSync` reads the running experiments, the promotions and the signing key, and adds counts.
- The services read the records that `slimseq.app.experiments.report` makes a report of.

A rating or a vote is a row. Responses and errors of arms are counts. So a report reads as many rows as people have
judged, and not as many as there were requests.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any, NamedTuple

from sqlalchemy import ForeignKey, Index, LargeBinary, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from slimseq.app.database.tables import Numbered, ShortText, Table, insert_into
from slimseq.app.experiments.report import EQUAL_WIN_RATE, ArmRecord, PairRecord
from slimseq.app.experiments.schemas import ExperimentRequest
from slimseq.app.serving.selection.defaults import Promotion
from slimseq.app.serving.selection.language_pairs import Pair
from slimseq.app.serving.traffic import ERRORS, Counted, Split
from slimseq.evaluation.sequential.confidence_sequence import WinRate
from slimseq.models_store.manifest import Task

# The table of signing keys has only this row.
KEY_NUMBER = 1
EXPERIMENT_ID = "experiments.id"


class WithoutPair(NamedTuple):
    """An experiment of an older version, whose row has no pair of languages."""

    id: str
    task: Task
    variants: list[str]


class ExperimentRow(Numbered):
    """A split of the traffic of one pair of languages between variants."""

    __tablename__ = "experiments"
    __table_args__ = (
        # One experiment runs for each pair of a task, whatever processes start at once.
        Index(
            "ix_experiments_running",
            "task",
            "pair",
            unique=True,
            sqlite_where=text("stopped_at IS NULL"),
            postgresql_where=text("stopped_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(unique=True)
    task: Mapped[str]
    # Codes of the languages, with a space between them. Rows that are older than this column may have None.
    pair: Mapped[str | None] = mapped_column(ShortText(200))
    name: Mapped[str] = mapped_column(ShortText(200))
    # Objects with `variant` and `weight`.
    arms: Mapped[list[Any]]
    margin: Mapped[float]
    when_decided: Mapped[str]
    drop_losing: Mapped[bool]
    # Variants whose arms were dropped.
    dropped: Mapped[list[str]]
    created_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    # The variant whose arm was promoted. The last promotion of a pair makes its default variant.
    promoted: Mapped[str | None]
    promoted_at: Mapped[datetime | None]

    @property
    def status(self) -> str:
        return "running" if self.stopped_at is None else "stopped"

    @property
    def languages(self) -> list[str] | None:
        return None if self.pair is None else self.pair.split()


class CountRow(Table):
    """A number of an arm's responses, without those of comparisons, or of its errors if `bucket` is `ERRORS`."""

    __tablename__ = "experiment_counts"

    experiment: Mapped[str] = mapped_column(ForeignKey(EXPERIMENT_ID, ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]


class RatingRow(Numbered):
    """The rating of a response, between 0 and 1. A response has at most one.

    `response` is the nonce of its id, `digest` has the first digits of the digest of the variant's artifact. `unit` is
    a digest of the experiment and the unit that judges, from which nobody reads the unit.
    """

    __tablename__ = "ratings"
    __table_args__ = (Index("ix_ratings_experiment_created", "experiment", "created_at"),)

    response: Mapped[str] = mapped_column(unique=True)
    variant: Mapped[str]
    digest: Mapped[str]
    experiment: Mapped[str | None] = mapped_column(ForeignKey(EXPERIMENT_ID, ondelete="CASCADE"))
    unit: Mapped[str | None]
    rating: Mapped[float]
    created_at: Mapped[datetime]


class VoteRow(Numbered):
    """The preferred variant of a comparison, None if all were equally good. A comparison has at most one vote.

    `comparison` is the nonce of its id, `compared` a JSON list of the variants and the first digits of their digests.
    """

    __tablename__ = "votes"
    __table_args__ = (Index("ix_votes_experiment_created", "experiment", "created_at"),)

    comparison: Mapped[str] = mapped_column(unique=True)
    compared: Mapped[list[Any]]
    preferred: Mapped[str | None]
    experiment: Mapped[str | None] = mapped_column(ForeignKey(EXPERIMENT_ID, ondelete="CASCADE"))
    unit: Mapped[str | None]
    created_at: Mapped[datetime]


class KeyRow(Table):
    """The key that signs the ids of responses. All processes on a database share it."""

    __tablename__ = "signing_keys"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary)


def running(session: Session) -> tuple[dict[tuple[Task, Pair], Split], dict[str, str]]:
    """Returns the splits of running experiments by task and pair, and what is wrong with invalid ones by their id."""
    splits = {}
    invalid = {}
    # Each row is read by itself, so that a row that cannot be read stops no other experiment.
    for identifier in session.scalars(select(ExperimentRow.id).where(ExperimentRow.stopped_at.is_(None))).all():
        try:
            row = session.scalar(select(ExperimentRow).where(ExperimentRow.id == identifier))
            experiment = ExperimentRequest.model_validate(row, from_attributes=True)
            dropped = row.dropped if row else ()
        except (TypeError, ValueError) as error:
            invalid[identifier] = str(error)
            continue
        if experiment.languages is None:
            invalid[identifier] = "its arms have no pair of languages in common"
            continue
        weights = {arm.variant: arm.weight for arm in experiment.arms if arm.variant not in dropped}
        decides = experiment.drop_losing or experiment.when_decided != "tell"
        splits[experiment.task, tuple(experiment.languages)] = Split(identifier, weights, decides)
    return splits, invalid


def promotions(session: Session) -> dict[tuple[Task, Pair], Promotion]:
    """Returns the promotion of each pair that has one: the last one."""
    rows = session.scalars(
        select(ExperimentRow)
        .where(ExperimentRow.task.in_(Task), ExperimentRow.pair.is_not(None), ExperimentRow.promoted.is_not(None))
        .order_by(ExperimentRow.promoted_at)
    )
    found = {}
    for row in rows:
        if row.promoted:
            # A later row replaces an earlier one of the same pair.
            found[Task(row.task), tuple(row.languages or ())] = Promotion(row.promoted, row.id)
    return found


def without_pair(session: Session) -> list[WithoutPair]:
    """Returns the experiments that have no pair and need one.

    An experiment needs a pair while it runs, or if it promoted an arm. Then the arm is its only variant here.
    """
    rows = session.scalars(
        select(ExperimentRow).where(
            ExperimentRow.task.in_(Task),
            ExperimentRow.pair.is_(None),
            ExperimentRow.stopped_at.is_(None) | ExperimentRow.promoted.is_not(None),
        )
    )
    found = []
    for row in rows:
        variants = [row.promoted] if row.promoted else [arm["variant"] for arm in row.arms]
        found.append(WithoutPair(row.id, Task(row.task), variants))
    return found


def set_pairs(session: Session, pairs: Mapping[str, Pair]) -> None:
    for row in session.scalars(select(ExperimentRow).where(ExperimentRow.id.in_(pairs))):
        row.pair = " ".join(pairs[row.id])


def signing_key(session: Session) -> bytes | None:
    return session.scalar(select(KeyRow.key).where(KeyRow.number == KEY_NUMBER))


def propose_key(session: Session, key: bytes) -> None:
    """Stores a key as the signing key of the database, unless the database has one."""
    session.execute(insert_into(session, KeyRow).values(number=KEY_NUMBER, key=key).on_conflict_do_nothing())


def kept_arms(session: Session, experiments: Collection[str]) -> dict[str, list[str]]:
    """Returns the names of the arms of each of the `experiments` that the database has, by the id of the experiment.

    An experiment may be missing: it was deleted, or the database was replaced by an older or an empty one. The rows
    that are found are locked, so that nobody deletes them before the end of the transaction.
    """
    rows = session.scalars(
        select(ExperimentRow).where(ExperimentRow.id.in_(experiments)).with_for_update(read=True, key_share=True)
    )
    return {row.id: [arm["variant"] for arm in row.arms] for row in rows}


def add_counts(session: Session, counts: Mapping[Counted, int]) -> None:
    """Adds responses and errors of arms to the counts in the database. Counts of deleted experiments are dropped."""
    kept = kept_arms(session, {experiment for experiment, _, _ in counts})
    rows = []
    # Sorted, so that two transactions lock rows in the same order and never wait for each other.
    for experiment, arm, bucket in sorted(counts):
        if experiment in kept:
            count = counts[experiment, arm, bucket]
            rows.append({"experiment": experiment, "arm": arm, "bucket": bucket, "count": count})
    if not rows:
        return
    statement = insert_into(session, CountRow)
    total = {"count": CountRow.count + statement.excluded.count}
    keys = ("experiment", "arm", "bucket")
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=total), rows)


def arm_records(session: Session, experiment: str, arms: Sequence[str]) -> dict[str, ArmRecord]:
    """Returns the counts and the ratings of each arm. Of each unit, only the first rating counts.

    A unit keeps its arm. So its further ratings would say more about the unit than about the arm, and with them
    intervals would be too narrow. Ratings without a unit all count.
    """
    records = {arm: ArmRecord() for arm in arms}
    for row in session.scalars(select(CountRow).where(CountRow.experiment == experiment)):
        if row.bucket == ERRORS:
            records[row.arm].errors = row.count
        else:
            records[row.arm].responses += row.count

    query = select(RatingRow.variant, RatingRow.unit, RatingRow.rating).where(RatingRow.experiment == experiment)
    ratings: dict[str, list[float]] = {arm: [] for arm in arms}
    seen_units: set[str] = set()
    for arm, unit, rating in session.execute(query.order_by(RatingRow.number)):
        if unit in seen_units:
            continue
        ratings[arm].append(rating)
        if unit:
            seen_units.add(unit)
    for arm, values in ratings.items():
        records[arm].ratings.extend(values)
    return records


def pair_records(session: Session, experiment: str, arms: Sequence[str]) -> dict[tuple[str, str], PairRecord]:
    """Returns the votes on each pair of arms. Of each unit, only the first vote on a pair counts.

    A comparison may have more than two variants. A vote for one of them counts for its pairs with each other one, and
    says nothing about the pairs of the others. A tie counts for all pairs, as half a vote for each arm.
    """
    pairs = list(combinations(arms, 2))
    query = select(VoteRow.compared, VoteRow.unit, VoteRow.preferred).where(VoteRow.experiment == experiment)
    seen: set[tuple[str, tuple[str, str]]] = set()
    # Votes by pair and preferred arm; None: ties.
    counts: Counter[tuple[tuple[str, str], str | None]] = Counter()
    for compared, unit, preferred in session.execute(query.order_by(VoteRow.number)):
        variants = {variant for variant, _ in compared}
        for pair in pairs:
            is_about_pair = variants.issuperset(pair) and (preferred is None or preferred in pair)
            if not is_about_pair or (unit, pair) in seen:
                continue
            counts[pair, preferred] += 1
            if unit:
                seen.add((unit, pair))

    records = {}
    for pair in pairs:
        first, second = pair
        wins = counts[pair, first]
        losses = counts[pair, second]
        ties = counts[pair, None]
        win_rate = WinRate(wins=wins + EQUAL_WIN_RATE * ties, votes=wins + losses + ties)
        records[pair] = PairRecord(win_rate, ties)
    return records
