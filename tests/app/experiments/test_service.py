"""Experiments and feedback on both databases: what counts once, what several processes share, and what is deleted."""

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from itsdangerous import TimestampSigner
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from slimseq.answers import Feedback
from slimseq.app.database.database import Database, database_url
from slimseq.app.database.tables import Table
from slimseq.app.errors import Conflict, DatabaseUnavailable, InvalidRequest, NotFound
from slimseq.app.experiments import service, traffic_sync
from slimseq.app.experiments.rows import ExperimentRow, RatingRow, VoteRow
from slimseq.app.experiments.schemas import ExperimentRequest, FeedbackRequest
from slimseq.app.experiments.service import ExperimentService, FeedbackService
from slimseq.app.experiments.traffic_sync import TrafficSync
from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.defaults import Defaults, Promotion
from slimseq.app.serving.traffic import ERRORS, Answered, Assignment, Traffic, unit_digest
from slimseq.evaluation.sequential.confidence_sequence import ConfidenceSequence
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.fronts import Front
from slimseq.models_store.manifest import Manifest, Task
from tests.app.serving.artifacts import manifest
from tests.app.serving.working import until

pytestmark = pytest.mark.anyio

ARMS = ("original", "compact")
DIGEST = "sha256:" + "0" * 64
# Tasks with a pair of languages, as keys of traffic and of promotions.
GERMAN = (Task.TRANSLATION, ("en", "de"))
PORTUGUESE = (Task.TRANSLATION, ("en", "pt"))
# Votes after which an arm that gets all of them is ahead.
DECIDING_VOTES = 60
# `FeedbackService` accepts judgements for this time.
DAYS = 7

# By pair of arms: votes, wins of the first arm, and ties.
Votes = Mapping[tuple[str, str], tuple[int, float, int]]

# Variants of English to German, and of English summaries.
NAMES = ("original", "compact", "a", "b", "c")


class Manifests:
    """A catalogue of artifacts that are in no store."""

    def __init__(self) -> None:
        self._found = [manifest(variant=name) for name in NAMES]
        self._found += [manifest(Task.SUMMARIZATION, name, languages=["en"]) for name in NAMES]
        self._found += [manifest(variant=name, languages=["en", "pt"]) for name in ("portuguese", "brazilian")]
        self._found += [manifest(Task.SUMMARIZATION, name, languages=["es"]) for name in ("spanish", "castilian")]

    def version(self) -> int:
        return 0

    def manifests(self, task: Task) -> list[Manifest]:
        return [each for each in self._found if each.task is task]

    def fronts(self, task: Task) -> list[Front]:
        return []

    def names(self, task: Task) -> list[str]:
        return [each.variant for each in self.manifests(task)]

    def manifest(self, task: Task, variant: str) -> Manifest:
        return next(each for each in self.manifests(task) if each.variant == variant)


class Process:
    """The services of experiments in one process, without models."""

    def __init__(self, database: Database, default: str | None = None) -> None:
        metrics = ServiceMetrics("test")
        self.chooser = Chooser(Defaults(Manifests(), {Task.TRANSLATION: default}))  # type: ignore[arg-type]
        self.database = database
        self.traffic = Traffic(metrics)
        self.sync = TrafficSync(database, self.traffic, self.chooser)
        self.experiments = ExperimentService(database, self.chooser, self.sync)
        self.feedback = FeedbackService(database, self.traffic, metrics, days=DAYS)

    async def start(self, *arms: str, task: str = "translation", **more: Any) -> str:
        listed = [{"variant": name} for name in arms or ARMS]
        request = ExperimentRequest.model_validate({"task": task, "name": "one", "arms": listed, **more})
        return (await self.experiments.start(request)).id

    def respond(self, experiment: str | None, arm: str, unit: str | None = None) -> str:
        """Counts a response; returns its id."""
        if experiment is None:
            return self.traffic.response_id(Task.TRANSLATION, Answered(arm, DIGEST), None)
        assignment = Assignment(experiment, arm, unit_digest(experiment, unit) if unit else None)
        self.traffic.count(Task.TRANSLATION, assignment)
        return self.traffic.response_id(Task.TRANSLATION, Answered(arm, DIGEST), assignment)

    def compare(self, experiment: str | None, *variants: str, unit: str | None = None) -> str:
        """Makes a comparison; returns its id."""
        answered = [Answered(variant, DIGEST) for variant in variants or ARMS]
        digest = unit_digest(experiment, unit) if experiment and unit else None
        return self.traffic.ids.make("comparison", Task.TRANSLATION, answered, experiment, digest)

    async def rate(self, response: str, rating: float = 1.0, unit: str | None = None) -> Feedback:
        return await self.feedback.post(FeedbackRequest(response=response, rating=rating), unit)

    async def vote(self, comparison: str, preferred: str | None, unit: str | None = None) -> Feedback:
        return await self.feedback.post(FeedbackRequest(comparison=comparison, preferred=preferred), unit)

    async def votes(self, experiment: str) -> Votes:
        report = await self.experiments.get(experiment)
        found = {}
        for pair in report.pairs:
            if pair.votes is not None:
                found[pair.first, pair.second] = (pair.votes.votes, pair.votes.wins, pair.votes.ties)
        return found


@pytest.fixture
def process(database: Database) -> Process:
    return Process(database)


def counted_rows(session: Session) -> Counter[str]:
    tables = Table.metadata.tables.values()
    return Counter({each.name: session.scalar(select(func.count()).select_from(each)) or 0 for each in tables})


async def test_what_an_arm_has_shown_is_counted(process: Process) -> None:
    draw = random.Random(0)
    expected = {arm: ConfidenceSequence() for arm in ARMS}

    experiment = await process.start()
    # 30 responses and ratings of each arm, and 60 errors of `compact`. Counts are written to the database thrice.
    for number in range(60):
        arm = ARMS[number % 2]
        rating = draw.random()
        response = process.respond(experiment, arm)
        process.traffic.count(Task.TRANSLATION, Assignment(experiment, "compact"), ERRORS)
        expected[arm].update(rating)
        await process.rate(response, rating)
        if number % 20 == 0:
            await process.sync.flush()
    report = await process.experiments.get(experiment)

    assert [(arm.responses, arm.errors) for arm in report.arms] == [(30, 0), (30, 60)]
    for shown in report.arms:
        sequence = expected[shown.variant]
        assert shown.ratings is not None
        assert shown.ratings.count == 30
        assert shown.ratings.mean == pytest.approx(sequence.mean)
        assert shown.ratings.interval == pytest.approx(sequence.interval())


async def test_of_each_unit_that_judges_many_times_at_once_one_rating_and_one_vote_count(process: Process) -> None:
    experiment = await process.start()
    # A unit may be named with the request that is answered, or with the judgement.
    for unit, judge in (("someone", None), (None, "another")):
        ratings = [process.rate(process.respond(experiment, "compact", unit), 1.0, judge) for _ in range(8)]
        votes = [process.vote(process.compare(experiment, unit=unit), "compact", judge) for _ in range(8)]
        await asyncio.gather(*ratings, *votes)
    report = await process.experiments.get(experiment)

    # Two units, of which each judged eight times.
    assert [arm.ratings and arm.ratings.count for arm in report.arms] == [None, 2]
    assert report.pairs[0].votes is not None
    assert report.pairs[0].votes.votes == 2


async def test_votes_count_for_the_pairs_that_they_decide(process: Process) -> None:
    experiment = await process.start("a", "b", "c")
    # Only the first of these three counts: b beats a.
    for _ in range(3):
        await process.vote(process.compare(experiment, "a", "b", unit="someone"), "b")
    # The same unit has voted on a and b. So its vote for a counts only against c.
    await process.vote(process.compare(experiment, "a", "b", "c", unit="someone"), "a")
    # Another unit, which is named with the vote: a beats b.
    await process.vote(process.compare(experiment, "a", "b", unit="someone"), "a", "another")
    # A tie: half a vote for each arm of all three pairs.
    await process.vote(process.compare(experiment, "a", "b", "c"), None)
    # Comparisons with a variant that is no arm decide no pair of arms.
    await process.vote(process.compare(experiment, "a", "other"), "a")
    vote_for_no_arm = await process.vote(process.compare(experiment, "a", "other"), "other")

    assert vote_for_no_arm.experiment is None
    assert await process.votes(experiment) == {
        ("a", "b"): (3, 1.5, 1),
        ("a", "c"): (2, 1.5, 1),
        ("b", "c"): (1, 0.5, 1),
    }


async def test_several_processes_share_ids_and_counts_and_each_judgement_counts_once(url: str) -> None:
    processes = [Process(Database(database_url(url))) for _ in range(3)]
    experiment = await processes[0].start()
    await asyncio.gather(*(each.sync.refresh() for each in processes))
    splits = [each.traffic.splits for each in processes]

    # Two processes judge each response and each comparison at the same time.
    judgements = []
    for number in range(12):
        one, other = processes[number % 3], processes[(number + 1) % 3]
        response = one.respond(experiment, "compact")
        comparison = one.compare(experiment)
        judgements += [each.rate(response) for each in (one, other)]
        judgements += [each.vote(comparison, "compact") for each in (one, other)]
    results = await asyncio.gather(*judgements, return_exceptions=True)
    await asyncio.gather(*(each.sync.close() for each in processes))
    report = await processes[0].experiments.get(experiment)
    for each in processes:
        each.database.close()

    assert splits[1:] == [splits[0], splits[0]]
    assert Counter(type(each).__name__ for each in results) == {"Feedback": 24, "Conflict": 24}
    compact = report.arms[1]
    assert compact.responses == 12
    assert compact.ratings is not None
    assert compact.ratings.count == 12
    votes = report.pairs[0].votes
    assert votes is not None
    assert (votes.votes, votes.wins) == (12, 0)


async def test_counts_and_ids_wait_while_the_database_is_down_and_feedback_is_refused(tmp_path: Path) -> None:
    process = Process(Database(database_url(f"sqlite:///{tmp_path / 'slimseq.db'}")))

    experiment = await process.start()
    # Another program locks the database for writing.
    other = sqlite3.connect(tmp_path / "slimseq.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    response = process.respond(experiment, "compact")

    for refused in (process.rate(response), process.sync.flush()):
        with pytest.raises(DatabaseUnavailable):
            await refused
    other.execute("ROLLBACK")
    other.close()
    feedback = await process.rate(response)
    report = await process.experiments.get(experiment)
    process.database.close()

    assert feedback.experiment == experiment
    assert report.arms[1].responses == 1


@pytest.mark.parametrize("column", ["arms = '[]'", "arms = '[{'", "arms = '5'", "task = 'cooking'", "created_at = 'x'"])
async def test_an_invalid_experiment_is_logged_once_and_the_others_go_on(
    sqlite_url: str, column: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_sync, "SYNC_SECONDS", 0.01)
    process = Process(Database(database_url(sqlite_url)))
    invalid = await process.start()
    process.database.transact(lambda session: session.execute(text(f"UPDATE experiments SET {column}")))

    process.sync.start(process.experiments.decide)
    # Each pause is ten turns of `sync`.
    valid = await process.start(task="summarization")
    await asyncio.sleep(0.1)
    await process.experiments.stop(valid)
    await asyncio.sleep(0.1)
    following = await process.start(task="summarization")
    await process.sync.close()
    process.database.close()

    running = {task: split.experiment for (task, _), split in process.traffic.splits.items()}
    assert running == {Task.SUMMARIZATION: following}
    assert [each.experiment for each in caplog.records] == [invalid]  # type: ignore[attr-defined]


async def test_outside_of_experiments_judgements_are_deleted_when_their_ids_are_too_old(process: Process) -> None:
    experiment = await process.start()
    for where in (experiment, None):
        await process.rate(process.respond(where, "compact"))
        await process.vote(process.compare(where), "compact")

    def make_old(session: Session) -> None:
        for table in (RatingRow, VoteRow):
            session.execute(update(table).values(created_at=datetime.now(UTC) - timedelta(days=DAYS + 1)))

    process.database.transact(make_old)
    # Every rating deletes what is too old.
    await process.rate(process.respond(None, "compact"))

    rows = process.database.transact(counted_rows)
    # The rating and the vote of the experiment, and the new rating.
    assert (rows["ratings"], rows["votes"]) == (2, 1)


async def test_an_id_that_was_not_made_here_cannot_be_judged(process: Process) -> None:
    response = process.respond(None, "compact")
    comparison = process.compare(None)
    of_another_service = Traffic(ServiceMetrics("test")).response_id(
        Task.TRANSLATION, Answered("compact", DIGEST), None
    )
    changed = response.replace("compact", "another")

    for wrong in (of_another_service, comparison, response[:-1], changed, "\0", "é"):
        with pytest.raises(NotFound, match="wrong or too old"):
            await process.rate(wrong)
    with pytest.raises(NotFound, match="wrong or too old"):
        await process.vote(response, "compact")


async def test_a_response_is_judged_once(process: Process) -> None:
    response = process.respond(None, "compact")

    feedback = await process.rate(response)
    with pytest.raises(Conflict):
        await process.rate(response)

    assert feedback.variant == "compact"


async def test_an_id_that_is_too_old_cannot_be_judged(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = process.compare(None)
    later = datetime.now(UTC) + timedelta(days=DAYS + 1)
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda signer: int(later.timestamp()))

    with pytest.raises(NotFound, match="wrong or too old"):
        await process.vote(comparison, "compact")


async def test_a_promotion_is_read_by_every_process_until_another_follows_or_it_is_deleted(url: str) -> None:
    one = Process(Database(database_url(url)))
    other = Process(Database(database_url(url)))
    first = await one.start()

    await one.experiments.promote(first, "compact")
    second = await one.start()
    seen = []
    for change in (one.experiments.promote(second, "original"), one.experiments.delete(second)):
        await change
        await other.sync.refresh()
        seen.append(other.chooser.defaults.promotions.get(GERMAN))
    for each in (one, other):
        each.database.close()

    # After the second promotion, and after the deletion of its experiment.
    assert seen == [Promotion("original", second), Promotion("compact", first)]


async def test_only_an_arm_of_the_experiment_is_promoted(process: Process) -> None:
    experiment = await process.start()

    with pytest.raises(NotFound, match="'nope' is no arm; there are original, compact"):
        await process.experiments.promote(experiment, "nope")


async def test_a_pair_of_languages_has_one_experiment(process: Process) -> None:
    german = await process.start("a", "b")

    already_runs = f"^translation of en to de has a running experiment, {german}: stop it"
    with pytest.raises(Conflict, match=already_runs):
        await process.start()
    with pytest.raises(Conflict, match=already_runs):
        await process.start("a", "b", languages=["EN", "de-AT"])


async def test_the_arms_of_an_experiment_have_a_pair_of_languages_in_common(process: Process) -> None:
    with pytest.raises(UnsupportedLanguages, match=r"same languages: original is en to de, portuguese is en to pt$"):
        await process.start("original", "portuguese")
    with pytest.raises(UnsupportedLanguages, match=r"not all of en to pt: a is en to de, b is en to de$"):
        await process.start("a", "b", languages=["en", "pt"])


async def test_each_pair_of_languages_may_have_an_experiment(process: Process) -> None:
    german = await process.start("a", "b")
    summaries = await process.start("a", "b", task="summarization")
    portuguese = await process.start("portuguese", "brazilian")
    report = await process.experiments.get(portuguese)

    found = {key: split.experiment for key, split in process.traffic.splits.items()}
    assert found == {GERMAN: german, PORTUGUESE: portuguese, (Task.SUMMARIZATION, ("en",)): summaries}
    assert report.languages == ["en", "pt"]
    assert process.traffic.assign(*GERMAN, "x") != process.traffic.assign(*PORTUGUESE, "x")
    assert process.traffic.assign(Task.TRANSLATION, ("en", "fr"), "x") is None


async def test_a_promotion_changes_the_default_of_its_pair_alone(process: Process) -> None:
    german = await process.start("a", "b")
    await process.experiments.promote(german, "b")
    portuguese = await process.start("portuguese", "brazilian")
    await process.experiments.promote(portuguese, "brazilian")

    defaults = process.chooser.defaults
    assert defaults.find(*GERMAN) == "b"
    assert defaults.find(*PORTUGUESE) == "brazilian"
    # German is the pair of requests without a language.
    assert process.chooser.find_default(Task.TRANSLATION) == "b"
    assert process.chooser.find_default(Task.SUMMARIZATION) == "original"


async def test_an_experiment_whose_language_no_request_can_ask_for_is_refused(process: Process) -> None:
    with pytest.raises(InvalidRequest, match=r"no request without a variant is es; those without languages are en$"):
        await process.start("spanish", "castilian", task="summarization")


async def test_old_experiments_without_a_pair_of_languages_get_the_pair_of_their_variants(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(database)
    promoted = await process.start()
    await process.experiments.promote(promoted, "compact")
    running = await process.start("portuguese", "brazilian")
    without_pair = await process.start("a", "b")
    arms_of_two_pairs = [{"variant": name, "weight": 1} for name in ("a", "portuguese")]

    def make_old(session: Session) -> None:
        session.execute(update(ExperimentRow).values(pair=None))
        session.execute(update(ExperimentRow).where(ExperimentRow.id == without_pair).values(arms=arms_of_two_pairs))

    database.transact(make_old)
    await process.sync.refresh()

    assert {key: split.experiment for key, split in process.traffic.splits.items()} == {PORTUGUESE: running}
    assert process.chooser.defaults.promotions == {GERMAN: Promotion("compact", promoted)}
    assert [each.experiment for each in caplog.records if each.levelname == "ERROR"] == [without_pair]  # type: ignore[attr-defined]


async def test_beside_an_experiment_whose_pair_is_unknown_no_other_starts_until_it_is_stopped(
    process: Process,
) -> None:
    without_pair = await process.start("a", "b")
    process.database.transact(lambda session: session.execute(update(ExperimentRow).values(pair=None)))

    with pytest.raises(Conflict, match=without_pair):
        await process.start("a", "b")
    with pytest.raises(Conflict, match="from before experiments had a pair"):
        await process.experiments.promote(without_pair, "a")
    stopped = await process.experiments.stop(without_pair)
    await process.start("a", "b")

    assert stopped.languages is None


@pytest.mark.parametrize(
    ("when", "preferred", "status", "promoted"),
    [
        ("promote", ["compact"], "stopped", "compact"),
        ("promote", ["compact", "original"], "stopped", None),
        ("stop", ["compact"], "stopped", None),
        ("tell", ["compact"], "running", None),
    ],
    ids=["promote", "promote none of two equivalent arms", "stop", "tell"],
)
async def test_an_experiment_follows_its_when_decided_once_it_is_decided_and_not_before(
    process: Process,
    when: str,
    preferred: list[str],
    status: str,
    promoted: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SYNC_SECONDS", "DECIDE_SECONDS"):
        monkeypatch.setattr(traffic_sync, name, 0.01)
    process.sync.start(process.experiments.decide)

    experiment = await process.start(when_decided=when, margin=0.4)
    await asyncio.sleep(0.2)
    before = await process.experiments.get(experiment)
    for number in range(DECIDING_VOTES):
        await process.vote(process.compare(experiment), preferred[number % len(preferred)])
    if when != "tell":
        # The experiment stops, and no traffic is split any more.
        await until(lambda: not process.traffic.splits)
    after = await process.experiments.get(experiment)
    await process.sync.close()

    assert before.status == "running"
    assert after.conclusion.verdict != "undecided"
    assert (after.status, after.promoted) == (status, promoted)


async def test_a_losing_arm_is_dropped_and_the_others_go_on(process: Process) -> None:
    experiment = await process.start("a", "b", "c", drop_losing=True)
    for preferred in ("a", "b") * DECIDING_VOTES:
        await process.vote(process.compare(experiment, preferred, "c"), preferred)

    await process.experiments.decide(experiment)
    report = await process.experiments.get(experiment)

    assert [(arm.share, arm.dropped) for arm in report.arms] == [(0.5, False), (0.5, False), (0.0, True)]
    assert report.status == "running"
    assert process.traffic.splits[GERMAN].weights == {"a": 1.0, "b": 1.0}


async def test_a_setting_comes_before_a_promotion(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    without_setting = Process(database)
    with_setting = Process(database, "original")
    experiment = await without_setting.start(when_decided="promote")
    for _ in range(DECIDING_VOTES):
        await without_setting.vote(without_setting.compare(experiment), "compact")

    with pytest.raises(Conflict, match="SLIMSEQ_DEFAULT_TRANSLATION names original, and a setting comes before"):
        await with_setting.experiments.promote(experiment)
    await with_setting.experiments.decide(experiment)
    ended = await with_setting.experiments.get(experiment)
    with pytest.raises(Conflict, match="unset it to promote"):
        await with_setting.start(when_decided="promote")

    assert (ended.status, ended.promoted) == ("stopped", None)
    assert "nothing promoted" in caplog.text


async def test_a_stopped_experiment_is_deleted_with_all_that_it_has(process: Process) -> None:
    experiment = await process.start()
    before = process.respond(experiment, "original", "someone")
    await process.rate(process.respond(experiment, "original", "someone"))
    await process.vote(process.compare(experiment, unit="someone"), None)
    await process.sync.flush()

    with pytest.raises(Conflict, match=experiment):
        await process.experiments.delete(experiment)
    await process.experiments.stop(experiment)
    # Answered before it stopped, and counted after it was deleted.
    process.respond(experiment, "original")
    await process.experiments.delete(experiment)
    await process.sync.flush()

    # Only the key that signs ids is left.
    assert process.database.transact(counted_rows).total() == 1
    for missing in (process.experiments.delete(experiment), process.experiments.get(experiment)):
        with pytest.raises(NotFound):
            await missing
    with pytest.raises(NotFound):
        await process.rate(before)


async def test_above_the_maximum_number_no_experiment_starts_until_one_is_deleted(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MAX_EXPERIMENTS", 2)

    first = await process.start()
    await process.start(task="summarization")
    await process.experiments.stop(first)
    with pytest.raises(Conflict, match="DELETE"):
        await process.start()
    await process.experiments.delete(first)
    await process.start()
