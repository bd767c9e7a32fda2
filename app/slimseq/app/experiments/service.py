"""The services of `/experiments`, which starts, ends, lists and reports them, and of `/feedback`."""

import contextlib
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from slimseq.answers import Experiment, Feedback
from slimseq.app.database.database import Database
from slimseq.app.database.tables import newest_first
from slimseq.app.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound
from slimseq.app.experiments.report import arm_reports, conclusion, losing, pair_reports
from slimseq.app.experiments.rows import ExperimentRow, RatingRow, VoteRow, arm_records, kept_arms, pair_records
from slimseq.app.experiments.schemas import (
    Arm,
    ExperimentList,
    ExperimentRequest,
    ExperimentSummary,
    FeedbackRequest,
)
from slimseq.app.experiments.traffic_sync import TrafficSync
from slimseq.app.generate.schemas import check_languages
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.selection.chooser import Chooser, RequestedVariant
from slimseq.app.serving.selection.language_pairs import Pair, in_words
from slimseq.app.serving.traffic import Judgeable, Kind, Traffic, unit_digest
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

MAX_EXPERIMENTS = 1000
# An id of an experiment is part of its responses' ids.
ID_BYTES = 8

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class ExperimentService:
    """Experiments in the database, at most one of which runs for each pair of languages of a task.

    Without the database, all of it raises `DatabaseUnavailable`, and nothing is changed.
    """

    _database: Database
    _chooser: Chooser
    _sync: TrafficSync

    async def start(self, request: ExperimentRequest) -> Experiment:
        pair = self._pair_of(request)
        if request.when_decided == "promote":
            self._check_setting(request.task, pair)
        fields = request.model_dump(mode="json", exclude={"languages"})
        fields |= {"pair": " ".join(pair), "dropped": [], "created_at": datetime.now(UTC)}
        row = ExperimentRow(id=secrets.token_hex(ID_BYTES), **fields)

        def add(session: Session) -> None:
            if (session.scalar(select(func.count()).select_from(ExperimentRow)) or 0) >= MAX_EXPERIMENTS:
                limit = f"there are {MAX_EXPERIMENTS} experiments, the limit"
                raise Conflict(f"{limit}; delete one that has stopped, with DELETE /experiments/ID")
            if (running := _running_id(session, row)) is not None:
                raise _runs(request.task, pair, running)
            session.add(row)

        try:
            await self._database.run(add)
        except IntegrityError:
            # Another process has just started one.
            running = await self._database.run(lambda session: _running_id(session, row), writes=False)
            raise _runs(request.task, pair, running or "that has just stopped") from None
        await self._sync.refresh()
        return await self.get(row.id)

    def _pair_of(self, request: ExperimentRequest) -> Pair:
        """Returns the pair of languages of an experiment, whose requests without a variant reach its arms.

        Raises:
            UnknownVariant, InvalidArtifact: there is no such arm, or it cannot be read.
            UnsupportedLanguages: the arms have no pair in common.
            InvalidRequest: no request without a variant has this pair.
        """
        names = [arm.variant for arm in request.arms]
        for name in names:
            self._chooser.select(request.task, RequestedVariant(name))
        pair = self._chooser.shared_pair(request.task, names, request.languages) or ()
        try:
            check_languages(request.task, pair)
        except ValueError as error:
            raise InvalidRequest(f"arms: the manifests of the variants: {error}") from error
        # A request for a summary names no language.
        named = (pair[0], pair[1]) if request.task is Task.TRANSLATION else None
        reached = self._chooser.defaults.find_pair(request.task, named)
        if reached != pair:
            default = f"; those without languages are {in_words(reached)}" if named is None and reached else ""
            raise InvalidRequest(f"arms: no request without a variant is {in_words(pair)}{default}")
        return pair

    async def stop(self, identifier: str) -> Experiment:
        """Stops an experiment. One that has stopped stays as it is."""
        return await self._change(identifier, stops=True)

    async def promote(self, identifier: str, arm: str | None = None) -> Experiment:
        """Stops an experiment, and makes an arm, by default the one that is ahead, the default of its pair."""
        found = await self.get(identifier)
        names, arm = [each.variant for each in found.arms], arm or found.conclusion.arm
        if arm is None:
            raise Conflict(f"{found.conclusion.text} Name the arm to promote, as in ?arm={names[0]}")
        if arm not in names:
            raise NotFound(f"query parameter arm: {arm!r} is no arm; there are {', '.join(names)}")
        if found.languages is None:
            raise Conflict("this experiment is from before experiments had a pair of languages; start another one")
        self._check_setting(found.task, tuple(found.languages))
        self._chooser.select(found.task, RequestedVariant(arm))
        return await self._change(identifier, stops=True, promoted=arm, promoted_at=datetime.now(UTC))

    async def decide(self, identifier: str) -> None:
        """Drops the arms of a running experiment that have lost, and ends it once it is decided, as far as it says."""
        found = await self.get(identifier)
        if found.status != "running":
            return
        dropped, left = ([arm.variant for arm in found.arms if arm.dropped is is_out] for is_out in (True, False))
        if found.drop_losing and (lost := losing(left, found.pairs)):
            logger.info("arms lost", extra={"experiment": identifier, "arms": lost})
            found = await self._change(identifier, dropped=[*dropped, *lost])
        if found.when_decided == "tell" or found.conclusion.verdict == "undecided":
            return
        logger.info("experiment decided", extra={"experiment": identifier, "conclusion": found.conclusion.text})
        if found.when_decided == "promote" and found.conclusion.arm:
            try:
                await self.promote(identifier)
            except DatabaseUnavailable:
                raise
            except SlimseqError as error:
                logger.warning("nothing promoted", extra={"experiment": identifier, "reason": str(error)})
        await self.stop(identifier)

    async def _change(self, identifier: str, *, stops: bool = False, **columns: object) -> Experiment:
        def write(session: Session) -> None:
            row = _row(session, identifier)
            if stops:
                row.stopped_at = row.stopped_at or datetime.now(UTC)
            for name, value in columns.items():
                setattr(row, name, value)

        await self._database.run(write)
        await self._sync.refresh()
        return await self.get(identifier)

    def _check_setting(self, task: Task, pair: Pair) -> None:
        if setting := self._chooser.defaults.named_by_setting(task, pair):
            raise Conflict(f"{setting}, and a setting comes before a promotion: unset it to promote a variant")

    async def delete(self, identifier: str) -> None:

        def remove(session: Session) -> None:
            row = _row(session, identifier)
            if row.stopped_at is None:
                raise _runs(Task(row.task), row.languages or (), identifier)
            session.delete(row)

        await self._database.delete(remove)
        await self._sync.refresh()

    async def list(self, limit: int, before: int | None = None) -> ExperimentList:
        def read(session: Session) -> ExperimentList:
            rows, following = newest_first(session, ExperimentRow, before, limit)
            return ExperimentList(experiments=[_summary(row) for row in rows], next=following)

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> Experiment:
        # Another program may lock the database for writing only. Then the latest responses are not in the report.
        with contextlib.suppress(DatabaseUnavailable):
            await self._sync.flush()
        return await self._database.run(lambda session: _reported(session, identifier), writes=False)


class FeedbackService:
    """Records feedback, for `days` after a response. What it returned is in the database, what it refused is not."""

    def __init__(self, database: Database, traffic: Traffic, metrics: ServiceMetrics, days: float) -> None:
        self._database = database
        self._traffic = traffic
        self._metrics = metrics
        self._kept = timedelta(days=days)

    async def post(self, request: FeedbackRequest, unit: str | None = None) -> Feedback:
        """Records a rating or a vote of a unit, by default that of the response or the comparison."""
        kind: Kind = "comparison" if request.response is None else "response"
        identifier = request.response or request.comparison or ""
        name = f"{kind} {identifier!r}"
        unknown = NotFound(f"there is no {name} to judge: its id is wrong or too old")
        judged = self._traffic.ids.read(kind, identifier, self._kept.total_seconds())
        if judged is None or not judged.answered:
            raise unknown
        row = _rating(judged, request.rating) if request.rating is not None else _vote(judged, request.preferred)
        row.experiment, row.created_at = judged.experiment, datetime.now(UTC)
        row.unit = unit_digest(judged.experiment, unit) if judged.experiment and unit else judged.unit

        def add(session: Session) -> None:
            if row.experiment:
                arms = kept_arms(session, [row.experiment]).get(row.experiment)
                if arms is None:
                    raise unknown
                if isinstance(row, VoteRow) and row.preferred is not None and row.preferred not in arms:
                    # It says nothing about arms.
                    row.experiment = row.unit = None
            session.add(row)
            # Their ids are too old to be judged again.
            for table in (RatingRow, VoteRow):
                is_old = table.experiment.is_(None) & (table.created_at < row.created_at - self._kept)
                session.execute(delete(table).where(is_old))

        try:
            await self._database.run(add)
        except IntegrityError:
            raise Conflict(f"{name} was judged before; each is judged once") from None
        variant: str | None
        if isinstance(row, RatingRow):
            variant = row.variant
            self._metrics.ratings.labels(judged.task, row.variant).observe(row.rating)
        elif variant := row.preferred:
            self._metrics.votes.labels(judged.task, variant).inc()
        return Feedback(task=judged.task, variant=variant, experiment=row.experiment)


def _runs(task: Task, pair: Sequence[str], identifier: str) -> Conflict:
    return Conflict(f"{task.value} of {in_words(pair)} has a running experiment, {identifier}: stop it first")


def _running_id(session: Session, row: ExperimentRow) -> str | None:
    """Returns the id of the experiment that runs for the pair of another one, or for a pair that nobody knows."""
    is_same = (ExperimentRow.pair == row.pair) | ExperimentRow.pair.is_(None)
    query = select(ExperimentRow.id).where(ExperimentRow.task == row.task, ExperimentRow.stopped_at.is_(None), is_same)
    return session.scalar(query.limit(1))


def _row(session: Session, identifier: str) -> ExperimentRow:
    row = session.scalar(select(ExperimentRow).where(ExperimentRow.id == identifier))
    if row is None:
        raise NotFound(f"there is no experiment {identifier[:64]!r}")
    return row


def _summary(row: ExperimentRow) -> ExperimentSummary:
    return ExperimentSummary.model_validate(row, from_attributes=True)


def _reported(session: Session, identifier: str) -> Experiment:
    row = _row(session, identifier)
    arms = [Arm.model_validate(arm) for arm in row.arms]
    names = [arm.variant for arm in arms]
    records = arm_records(session, identifier, names)
    pairs = pair_reports(arms, records, pair_records(session, identifier, names), row.margin)
    reports = {
        "arms": arm_reports(arms, records, row.dropped),
        "pairs": pairs,
        "conclusion": conclusion(arms, pairs, row.dropped),
    }
    return Experiment.model_validate(_summary(row).model_dump() | reports)


def _rating(judged: Judgeable, rating: float) -> RatingRow:
    [(variant, digest)] = judged.answered
    return RatingRow(response=judged.nonce, variant=variant, digest=digest, rating=rating)


def _vote(judged: Judgeable, preferred: str | None) -> VoteRow:
    variants = [variant for variant, _ in judged.answered]
    if preferred is not None and preferred not in variants:
        raise InvalidRequest(f"preferred: {preferred!r} was not compared; it was {', '.join(variants)}")
    compared = [list(each) for each in judged.answered]
    return VoteRow(comparison=judged.nonce, compared=compared, preferred=preferred)
