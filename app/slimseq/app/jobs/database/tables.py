"""The tables. A change here needs a migration in `migrations/versions`, which a test compares with them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from slimseq.app.jobs.database.columns import ShortText, UserText, UtcTime

# Names of tasks, variants and statuses, and ids, are at most this long.
Name = ShortText(64)


class Base(DeclarativeBase):
    """What all tables share: the types of their columns."""

    type_annotation_map = {str: Name, datetime: UtcTime, dict[str, Any]: JSON, list[str]: JSON}  # noqa: RUF012


class EvaluationRow(Base):
    """An evaluation.

    Attributes:
        number: the order of submission.
        kind: `quality` or `latency`.
        digests: the digest of each variant at the time of submission.
        references: the reference of each variant, if it is one of the variants.
        runtimes: the runtime of each variant, once a process runs the evaluation.
        options: the gate question, or the settings of a latency measurement.
        samples: maximum number of samples; once they are stored, their number.
        are_samples_stored: whether `SampleRow` has all samples.
        owner: the process that runs it, or None.
        owned_until: the owner's lease, in seconds since the epoch. Another process may take over after it.
        interruptions: how often a process died while it ran the evaluation.
        request_id: of the request that posted it, for the log and the error.
        results, error: JSON, once the evaluation has ended.
    """

    __tablename__ = "evaluations"

    # Counted by the database.
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    task: Mapped[str]
    variants: Mapped[list[str]]
    digests: Mapped[dict[str, Any]]
    references: Mapped[dict[str, Any]]
    runtimes: Mapped[dict[str, Any] | None]
    options: Mapped[dict[str, Any]]
    dataset: Mapped[str]
    samples: Mapped[int]
    are_samples_stored: Mapped[bool]
    status: Mapped[str] = mapped_column(index=True)
    progress: Mapped[float]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    owner: Mapped[str | None]
    owned_until: Mapped[float | None]
    interruptions: Mapped[int]
    request_id: Mapped[str] = mapped_column(String(128))
    results: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]


class SampleRow(Base):
    """A sample of an evaluation."""

    __tablename__ = "evaluation_samples"

    evaluation: Mapped[int] = mapped_column(ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(UserText)
    target: Mapped[str] = mapped_column(UserText)


class OutputRow(Base):
    """The output of a variant for a sample.

    Attributes:
        seconds: its share of the time of its batch.
        confidence: of a calibrated variant. Outputs of older versions of the service have none.
        warnings: a JSON list of `kind` and `detail`, or None.
    """

    __tablename__ = "evaluation_outputs"

    evaluation: Mapped[int] = mapped_column(ForeignKey("evaluations.number", ondelete="CASCADE"), primary_key=True)
    variant: Mapped[str] = mapped_column(primary_key=True)
    sample: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(UserText)
    finish_reason: Mapped[str]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    truncated: Mapped[bool]
    seconds: Mapped[float]
    score: Mapped[float]
    confidence: Mapped[float | None]
    warnings: Mapped[list[Any] | None] = mapped_column(JSON)


class ExperimentRow(Base):
    """A split of traffic between variants. `arms` is a JSON list of variants and weights."""

    __tablename__ = "experiments"
    __table_args__ = (
        # One experiment runs for each task, whatever processes start at once.
        Index(
            "ix_experiments_running",
            "task",
            unique=True,
            sqlite_where=text("stopped_at IS NULL"),
            postgresql_where=text("stopped_at IS NULL"),
        ),
    )

    # Counted by the database.
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    task: Mapped[str]
    name: Mapped[str] = mapped_column(ShortText(200))
    arms: Mapped[list[Any]] = mapped_column(JSON)
    margin: Mapped[float]
    created_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None]


class ArmRow(Base):
    """What an arm of an experiment has shown so far, but for its latency.

    `ratings`, `rating_total` and `rating_variation` are a `ConfidenceSequence`, and so are `outputs`, `total` and
    `variation`: the similarity to the outputs of the reference, of which `exact` are equal.
    """

    __tablename__ = "experiment_arms"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    errors: Mapped[int] = mapped_column(default=0)
    ratings: Mapped[int] = mapped_column(default=0)
    rating_total: Mapped[float] = mapped_column(default=0.0)
    rating_variation: Mapped[float] = mapped_column(default=0.0)
    outputs: Mapped[int] = mapped_column(default=0)
    exact: Mapped[int] = mapped_column(default=0)
    total: Mapped[float] = mapped_column(default=0.0)
    variation: Mapped[float] = mapped_column(default=0.0)


class PairRow(Base):
    """The votes on two arms of an experiment: `wins` of the first, with half of each tie."""

    __tablename__ = "experiment_pairs"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    first: Mapped[str] = mapped_column(primary_key=True)
    second: Mapped[str] = mapped_column(primary_key=True)
    votes: Mapped[int] = mapped_column(default=0)
    wins: Mapped[float] = mapped_column(default=0.0)
    ties: Mapped[int] = mapped_column(default=0)


class LatencyRow(Base):
    """The number of an arm's responses in a bucket, without comparisons.

    `slimseq.app.jobs.experiments.latency_buckets` has the buckets.
    """

    __tablename__ = "experiment_latencies"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    responses: Mapped[int]


class AgreementRow(Base):
    """The agreement of an artifact with its reference on live requests, by the digests of both.

    `outputs`, `total` and `variation` are a `ConfidenceSequence`. There are no texts.
    """

    __tablename__ = "live_agreements"

    task: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(ShortText(128), primary_key=True)
    reference: Mapped[str] = mapped_column(ShortText(128), primary_key=True)
    outputs: Mapped[int]
    exact: Mapped[int]
    total: Mapped[float]
    variation: Mapped[float]


class ResponseRow(Base):
    """A response that may get feedback, without its texts. The responses of one comparison share its id.

    It is counted in the tables above when it is written, so that it may be deleted. `unit` is the digest of an
    experiment and a unit, from which nobody reads the unit.
    """

    __tablename__ = "responses"
    __table_args__ = (Index("ix_responses_experiment_created", "experiment", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str]
    variant: Mapped[str]
    experiment: Mapped[str | None] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"))
    arm: Mapped[str | None]
    unit: Mapped[str | None]
    comparison: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[datetime]
    problem: Mapped[str | None]
    queue_ms: Mapped[float | None]
    inference_ms: Mapped[float | None]
    total_ms: Mapped[float | None]


class RatingRow(Base):
    """The rating of a response, between 0 and 1. A response has at most one, which outlives it."""

    __tablename__ = "ratings"

    response: Mapped[str] = mapped_column(primary_key=True)
    experiment: Mapped[str | None] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    arm: Mapped[str | None]
    unit: Mapped[str | None]
    rating: Mapped[float]
    created_at: Mapped[datetime]


class VoteRow(Base):
    """The preferred variant of a comparison, None if all were equally good. A comparison has at most one vote."""

    __tablename__ = "votes"

    comparison: Mapped[str] = mapped_column(primary_key=True)
    experiment: Mapped[str | None] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), index=True)
    unit: Mapped[str | None]
    preferred: Mapped[str | None]
    created_at: Mapped[datetime]


class CountedUnitRow(Base):
    """A unit whose first rating in an experiment, or whose first vote on a pair of its arms, is counted.

    `first` and `second` are the pair, and empty for a rating.
    """

    __tablename__ = "experiment_units"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True)
    first: Mapped[str] = mapped_column(primary_key=True)
    second: Mapped[str] = mapped_column(primary_key=True)
