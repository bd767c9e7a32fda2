"""What the routes of `/experiments` and `/feedback` do.

`ExperimentService` starts, ends, lists and reports experiments, and promotes an arm. `FeedbackService` records ratings
and votes. `slimseq.app.experiments.rows` has the tables, `slimseq.app.experiments.report` the statistics, and
`slimseq.app.serving.traffic` splits the requests.
"""

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

# Maximum number of experiments in the database.
MAX_EXPERIMENTS = 1000
# Random bytes in the id of an experiment: few, because the id is a part of the id of each response.
ID_BYTES = 8

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class ExperimentService:
    """Experiments in the database. At most one runs for each pair of languages of a task.

    While the database is down, each method raises `DatabaseUnavailable` and changes nothing.
    """

    _database: Database
    _chooser: Chooser
    _sync: TrafficSync

    async def start(self, request: ExperimentRequest) -> Experiment:
        """Starts an experiment. The traffic is split when this method returns.

        Raises:
            Conflict: an experiment runs for this pair, there are too many, or a setting prevents the promotion.
            SlimseqError: the arms or their languages do not fit, see `_pair_of`.
        """
        pair = self._pair_of(request)
        if request.when_decided == "promote":
            self._check_setting(request.task, pair)
        fields = request.model_dump(mode="json", exclude={"languages"})
        fields |= {"pair": " ".join(pair), "dropped": [], "created_at": datetime.now(UTC)}
        row = ExperimentRow(id=secrets.token_hex(ID_BYTES), **fields)

        def add(session: Session) -> None:
            count = session.scalar(select(func.count()).select_from(ExperimentRow)) or 0
            if count >= MAX_EXPERIMENTS:
                raise Conflict(
                    f"there are {MAX_EXPERIMENTS} experiments, the limit; delete one that has stopped, with DELETE "
                    "/experiments/ID"
                )
            running = _running_id(session, row)
            if running is not None:
                raise _already_runs(request.task, pair, running)
            session.add(row)

        try:
            await self._database.run(add)
        except IntegrityError:
            # The unique index says that another process has just started one.
            running = await self._database.run(lambda session: _running_id(session, row), writes=False)
            raise _already_runs(request.task, pair, running or "that has just stopped") from None
        await self._sync.refresh()
        return await self.get(row.id)

    def _pair_of(self, request: ExperimentRequest) -> Pair:
        """Returns the pair of languages whose requests the experiment splits: those that name no variant.

        Raises:
            UnknownVariant, InvalidArtifact: there is no such arm, or it cannot be read.
            UnsupportedLanguages: the arms have no pair in common.
            InvalidRequest: no request without a variant has this pair.
        """
        names = [arm.variant for arm in request.arms]
        for name in names:
            # Only a check: it raises if this variant cannot answer.
            self._chooser.select(request.task, RequestedVariant(name))
        pair = self._chooser.shared_pair(request.task, names, request.languages) or ()
        try:
            check_languages(request.task, pair)
        except ValueError as error:
            raise InvalidRequest(f"arms: the manifests of the variants: {error}") from error

        # The languages that a request may name. A request for a summary names none, and so has the default language.
        named = None
        if request.task is Task.TRANSLATION:
            source, target = pair
            named = (source, target)
        pair_of_requests = self._chooser.defaults.find_pair(request.task, named)
        if pair_of_requests != pair:
            hint = ""
            if named is None and pair_of_requests:
                hint = f"; those without languages are {in_words(pair_of_requests)}"
            raise InvalidRequest(f"arms: no request without a variant is {in_words(pair)}{hint}")
        return pair

    async def stop(self, identifier: str) -> Experiment:
        """Stops an experiment. One that has stopped stays as it is."""
        return await self._change(identifier, stops=True)

    async def promote(self, identifier: str, arm: str | None = None) -> Experiment:
        """Stops an experiment, and makes an arm, by default the one that is ahead, the default of its pair."""
        experiment = await self.get(identifier)
        names = [each.variant for each in experiment.arms]
        promoted = arm or experiment.conclusion.arm
        if promoted is None:
            raise Conflict(f"{experiment.conclusion.text} Name the arm to promote, as in ?arm={names[0]}")
        if promoted not in names:
            raise NotFound(f"query parameter arm: {promoted!r} is no arm; there are {', '.join(names)}")
        if experiment.languages is None:
            raise Conflict("this experiment is from before experiments had a pair of languages; start another one")
        self._check_setting(experiment.task, tuple(experiment.languages))
        # Only a check: it raises if this variant cannot answer.
        self._chooser.select(experiment.task, RequestedVariant(promoted))
        return await self._change(identifier, stops=True, promoted=promoted, promoted_at=datetime.now(UTC))

    async def decide(self, identifier: str) -> None:
        """Does what a running experiment asks for when arms lose (`drop_losing`) or it is decided (`when_decided`)."""
        experiment = await self.get(identifier)
        if experiment.status != "running":
            return
        if experiment.drop_losing:
            experiment = await self._drop_losing(experiment)
        if experiment.when_decided == "tell" or experiment.conclusion.verdict == "undecided":
            return
        logger.info("experiment decided", extra={"experiment": identifier, "conclusion": experiment.conclusion.text})
        if experiment.when_decided == "promote" and experiment.conclusion.arm:
            try:
                await self.promote(identifier)
            except DatabaseUnavailable:
                # `TrafficSync` calls `decide` again.
                raise
            except SlimseqError as error:
                logger.warning("nothing promoted", extra={"experiment": identifier, "reason": str(error)})
        await self.stop(identifier)

    async def _drop_losing(self, experiment: Experiment) -> Experiment:
        """Drops the arms that another one is ahead of. Returns the experiment as it then is."""
        dropped = [arm.variant for arm in experiment.arms if arm.dropped]
        remaining = [arm.variant for arm in experiment.arms if not arm.dropped]
        lost = losing(remaining, experiment.pairs)
        if not lost:
            return experiment
        logger.info("arms lost", extra={"experiment": experiment.id, "arms": lost})
        return await self._change(experiment.id, dropped=[*dropped, *lost])

    async def _change(self, identifier: str, *, stops: bool = False, **columns: object) -> Experiment:
        """Sets columns of an experiment, stops it if it runs and `stops`, and returns it as it then is."""

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
        """Raises `Conflict` if a setting names the default variant of a pair."""
        setting = self._chooser.defaults.named_by_setting(task, pair)
        if setting:
            raise Conflict(f"{setting}, and a setting comes before a promotion: unset it to promote a variant")

    async def delete(self, identifier: str) -> None:
        """Deletes an experiment that has stopped, with its feedback and its promotion."""

        def remove(session: Session) -> None:
            row = _row(session, identifier)
            if row.stopped_at is None:
                raise _already_runs(Task(row.task), row.languages or (), identifier)
            session.delete(row)

        await self._database.delete(remove)
        await self._sync.refresh()

    async def list_page(self, limit: int, before: int | None = None) -> ExperimentList:
        def read(session: Session) -> ExperimentList:
            rows, following = newest_first(session, ExperimentRow, before, limit)
            return ExperimentList(experiments=[_summary(row) for row in rows], next=following)

        return await self._database.run(read, writes=False)

    async def get(self, identifier: str) -> Experiment:
        """Returns an experiment with its report, which includes the responses that were counted up to now."""
        # Another program may have locked the database for writing. Then it can be read, and the report lacks the latest
        # responses.
        with contextlib.suppress(DatabaseUnavailable):
            await self._sync.flush()
        return await self._database.run(lambda session: _reported(session, identifier), writes=False)


class FeedbackService:
    """Records ratings and votes, for `days` after the response or the comparison.

    Feedback that a method returned is in the database. If the method raised, the database does not have it.
    """

    def __init__(self, database: Database, traffic: Traffic, metrics: ServiceMetrics, days: float) -> None:
        self._database = database
        self._traffic = traffic
        self._metrics = metrics
        self._judgeable_for = timedelta(days=days)

    async def post(self, request: FeedbackRequest, unit: str | None = None) -> Feedback:
        """Records a rating or a vote. Without a `unit`, the unit of the response or the comparison has judged.

        Raises:
            NotFound: the id of the response or the comparison is wrong or too old.
            InvalidRequest: the preferred variant was not compared.
            Conflict: the response or the comparison was judged before.
        """
        kind: Kind = "comparison" if request.response is None else "response"
        identifier = request.response or request.comparison or ""
        name = f"{kind} {identifier!r}"
        unknown = NotFound(f"there is no {name} to judge: its id is wrong or too old")
        # The id itself says which variants answered, for which unit and in which experiment. It is signed.
        judged = self._traffic.ids.read(kind, identifier, self._judgeable_for.total_seconds())
        if judged is None or not judged.answered:
            raise unknown
        row = _judgement(judged, request)
        row.experiment = judged.experiment
        row.created_at = datetime.now(UTC)
        if judged.experiment and unit:
            row.unit = unit_digest(judged.experiment, unit)
        else:
            row.unit = judged.unit

        def add(session: Session) -> None:
            if row.experiment:
                arms = kept_arms(session, [row.experiment]).get(row.experiment)
                if arms is None:
                    raise unknown
                if isinstance(row, VoteRow) and row.preferred is not None and row.preferred not in arms:
                    # A vote for a variant that is no arm says nothing about the arms.
                    row.experiment = None
                    row.unit = None
            session.add(row)
            # Old judgements outside of experiments are only kept so that nobody judges twice. After this time nobody
            # can judge those ids any more.
            oldest_judgeable = row.created_at - self._judgeable_for
            for table in (RatingRow, VoteRow):
                old_rows = delete(table).where(table.experiment.is_(None), table.created_at < oldest_judgeable)
                session.execute(old_rows)

        try:
            await self._database.run(add)
        except IntegrityError:
            raise Conflict(f"{name} was judged before; each is judged once") from None
        variant = self._measure(judged.task, row)
        return Feedback(task=judged.task, variant=variant, experiment=row.experiment)

    def _measure(self, task: Task, row: RatingRow | VoteRow) -> str | None:
        """Adds a judgement to the metrics. Returns the variant that was rated or preferred, None for a tie."""
        if isinstance(row, RatingRow):
            self._metrics.ratings.labels(task, row.variant).observe(row.rating)
            return row.variant
        if row.preferred:
            self._metrics.votes.labels(task, row.preferred).inc()
        return row.preferred


def _already_runs(task: Task, pair: Sequence[str], identifier: str) -> Conflict:
    return Conflict(f"{task.value} of {in_words(pair)} has a running experiment, {identifier}: stop it first")


def _running_id(session: Session, row: ExperimentRow) -> str | None:
    """Returns the id of an experiment that runs for the task and pair of `row`, None if there is none."""
    # Experiments of older versions have no pair. They may be for the same pair.
    may_have_pair = (ExperimentRow.pair == row.pair) | ExperimentRow.pair.is_(None)
    is_running = ExperimentRow.stopped_at.is_(None)
    query = select(ExperimentRow.id).where(ExperimentRow.task == row.task, is_running, may_have_pair)
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


def _judgement(judged: Judgeable, request: FeedbackRequest) -> RatingRow | VoteRow:
    if request.rating is not None:
        return _rating(judged, request.rating)
    return _vote(judged, request.preferred)


def _rating(judged: Judgeable, rating: float) -> RatingRow:
    # One variant answers a request that is no comparison.
    [(variant, digest)] = judged.answered
    return RatingRow(response=judged.nonce, variant=variant, digest=digest, rating=rating)


def _vote(judged: Judgeable, preferred: str | None) -> VoteRow:
    variants = [variant for variant, _ in judged.answered]
    if preferred is not None and preferred not in variants:
        raise InvalidRequest(f"preferred: {preferred!r} was not compared; it was {', '.join(variants)}")
    compared = [list(each) for each in judged.answered]
    return VoteRow(comparison=judged.nonce, compared=compared, preferred=preferred)
