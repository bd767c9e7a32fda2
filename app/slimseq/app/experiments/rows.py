"""The tables of experiments and feedback, and the transactions that add to them and read them for a report.

A judgement is a row, and responses and errors of arms are counts, so that a report reads no more rows than people have
judged.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from slimseq.app.database.tables import Numbered, ShortText, Table, insert_into
from slimseq.app.experiments.report import TIE, ArmRecord, PairRecord
from slimseq.app.experiments.schemas import ExperimentRequest
from slimseq.app.serving.selection.defaults import Promotion
from slimseq.app.serving.selection.language_pairs import Pair
from slimseq.app.serving.traffic import ERRORS, Counted, Split
from slimseq.evaluation.sequential.confidence_sequence import WinRate
from slimseq.models_store.manifest import Task

# The only row of its table.
KEY_NUMBER = 1
OWN_EXPERIMENT = "experiments.id"


class ExperimentRow(Numbered):
    """A split of traffic between variants. `arms` is a JSON list of variants and weights, `dropped` one of variants.

    `pair` has the codes of the languages, with a space between them. Experiments of before experiments had a pair may
    have none. The last `promoted` of a pair is its default variant.
    """

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
    pair: Mapped[str | None] = mapped_column(ShortText(200))
    name: Mapped[str] = mapped_column(ShortText(200))
    arms: Mapped[list[Any]]
    margin: Mapped[float]
    when_decided: Mapped[str]
    drop_losing: Mapped[bool]
    dropped: Mapped[list[str]]
    created_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    promoted: Mapped[str | None]
    promoted_at: Mapped[datetime | None]

    @property
    def status(self) -> str:
        return "running" if self.stopped_at is None else "stopped"

    @property
    def languages(self) -> list[str] | None:
        return None if self.pair is None else self.pair.split()


class CountRow(Table):
    """The number of an arm's responses, without comparisons, or that of its errors: `bucket` is `ERRORS` then."""

    __tablename__ = "experiment_counts"

    experiment: Mapped[str] = mapped_column(ForeignKey(OWN_EXPERIMENT, ondelete="CASCADE"), primary_key=True)
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
    experiment: Mapped[str | None] = mapped_column(ForeignKey(OWN_EXPERIMENT, ondelete="CASCADE"))
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
    experiment: Mapped[str | None] = mapped_column(ForeignKey(OWN_EXPERIMENT, ondelete="CASCADE"))
    unit: Mapped[str | None]
    created_at: Mapped[datetime]


class KeyRow(Table):
    """The key that signs the ids of responses. All processes on a database share it."""

    __tablename__ = "signing_keys"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary)


def running(session: Session) -> tuple[dict[tuple[Task, Pair], Split], dict[str, str]]:
    """Returns the splits of running experiments, and what is wrong with those that are invalid, by their id."""
    splits, invalid = {}, {}
    for identifier in session.scalars(select(ExperimentRow.id).where(ExperimentRow.stopped_at.is_(None))).all():
        try:
            row = session.scalar(select(ExperimentRow).where(ExperimentRow.id == identifier))
            found = ExperimentRequest.model_validate(row, from_attributes=True)
            dropped = row.dropped if row else ()
        except (TypeError, ValueError) as error:
            invalid[identifier] = str(error)
            continue
        if found.languages is None:
            invalid[identifier] = "its arms have no pair of languages in common"
            continue
        weights = {arm.variant: arm.weight for arm in found.arms if arm.variant not in dropped}
        split = Split(identifier, weights, found.drop_losing or found.when_decided != "tell")
        splits[found.task, tuple(found.languages)] = split
    return splits, invalid


def promotions(session: Session) -> dict[tuple[Task, Pair], Promotion]:
    rows = session.scalars(
        select(ExperimentRow)
        .where(ExperimentRow.task.in_(Task), ExperimentRow.pair.is_not(None), ExperimentRow.promoted.is_not(None))
        .order_by(ExperimentRow.promoted_at)
    )
    # The last one of a pair counts.
    return {
        (Task(row.task), tuple(row.languages or ())): Promotion(row.promoted, row.id) for row in rows if row.promoted
    }


def without_pair(session: Session) -> list[tuple[str, Task, list[str]]]:
    """Returns id, task and variants of experiments without a pair that needs one: those that run or promoted an arm."""
    rows = session.scalars(
        select(ExperimentRow).where(
            ExperimentRow.task.in_(Task),
            ExperimentRow.pair.is_(None),
            ExperimentRow.stopped_at.is_(None) | ExperimentRow.promoted.is_not(None),
        )
    )
    return [
        (row.id, Task(row.task), [row.promoted] if row.promoted else [arm["variant"] for arm in row.arms])
        for row in rows
    ]


def set_pairs(session: Session, pairs: Mapping[str, Pair]) -> None:
    for row in session.scalars(select(ExperimentRow).where(ExperimentRow.id.in_(pairs))):
        row.pair = " ".join(pairs[row.id])


def signing_key(session: Session) -> bytes | None:
    return session.scalar(select(KeyRow.key).where(KeyRow.number == KEY_NUMBER))


def propose_key(session: Session, key: bytes) -> None:
    """Makes a key that of the database, unless it has one."""
    session.execute(insert_into(session, KeyRow).values(number=KEY_NUMBER, key=key).on_conflict_do_nothing())


def kept_arms(session: Session, experiments: Collection[str]) -> dict[str, list[str]]:
    """Returns the names of the arms of those experiments that are there. They stay until the end of the transaction.

    One may have been deleted, and a database that was replaced by an older or an empty one may not have it.
    """
    rows = session.scalars(
        select(ExperimentRow).where(ExperimentRow.id.in_(experiments)).with_for_update(read=True, key_share=True)
    )
    return {row.id: [arm["variant"] for arm in row.arms] for row in rows}


def add_counts(session: Session, counts: Mapping[Counted, int]) -> None:
    """Adds responses and errors of arms to those of experiments that are still there."""
    known = kept_arms(session, {experiment for experiment, _, _ in counts})
    keys = ("experiment", "arm", "bucket")
    # Sorted, so that two transactions do not wait for each other.
    rows = [{**dict(zip(keys, key, strict=True)), "count": counts[key]} for key in sorted(counts) if key[0] in known]
    statement = insert_into(session, CountRow)
    total = {"count": CountRow.count + statement.excluded.count}
    if rows:
        session.execute(statement.on_conflict_do_update(index_elements=keys, set_=total), rows)


def arm_records(session: Session, experiment: str, arms: Sequence[str]) -> dict[str, ArmRecord]:
    """Returns what was counted of each arm, and the ratings: of each unit the first one.

    A unit keeps its arm, so that its further ratings say more about the unit than about the arm, and intervals would be
    too narrow. Ratings without a unit all count.
    """
    records = {arm: ArmRecord() for arm in arms}
    for row in session.scalars(select(CountRow).where(CountRow.experiment == experiment)):
        if row.bucket == ERRORS:
            records[row.arm].errors = row.count
        else:
            records[row.arm].responses += row.count
    own = select(RatingRow.variant, RatingRow.unit, RatingRow.rating).where(RatingRow.experiment == experiment)
    ratings: dict[str, list[float]] = {arm: [] for arm in arms}
    seen: set[str] = set()
    for arm, unit, rating in session.execute(own.order_by(RatingRow.number)):
        if unit not in seen:
            ratings[arm].append(rating)
            seen.update([unit] if unit else [])
    for arm, values in ratings.items():
        records[arm].ratings.extend(values)
    return records


def pair_records(session: Session, experiment: str, arms: Sequence[str]) -> dict[tuple[str, str], PairRecord]:
    """Returns the votes on each pair of arms that they decide: of each unit the first one on that pair.

    A vote decides the pairs of the arm that is better than all others; one for none is half a vote for each of a pair.
    """
    pairs = list(combinations(arms, 2))
    own = select(VoteRow.compared, VoteRow.unit, VoteRow.preferred).where(VoteRow.experiment == experiment)
    seen: set[tuple[str, tuple[str, str]]] = set()
    counts: Counter[tuple[tuple[str, str], str | None]] = Counter()
    for compared, unit, preferred in session.execute(own.order_by(VoteRow.number)):
        variants = {variant for variant, _ in compared}
        for pair in pairs:
            is_decided = variants.issuperset(pair) and (preferred is None or preferred in pair)
            if is_decided and (unit, pair) not in seen:
                counts[pair, preferred] += 1
                seen.update([(unit, pair)] if unit else [])
    records = {}
    for pair in pairs:
        wins, losses, ties = (counts[pair, each] for each in (*pair, None))
        records[pair] = PairRecord(WinRate(wins=wins + TIE * ties, votes=wins + losses + ties), ties)
    return records
