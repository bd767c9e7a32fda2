"""Experiments keep counts and sums, so that their responses can be deleted, and ratings and votes do without them.

Also: a vote may be a tie, and live agreement is kept.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# Rows of one statement.
ROWS = 2_000
NAME = sa.String(length=64)
EXPERIMENTS = sa.table("experiments", sa.column("id"), sa.column("arms", sa.JSON()))
RATINGS = """
CREATE TABLE old_ratings AS
SELECT ratings.response, responses.experiment, responses.arm, responses.unit, ratings.rating, ratings.created_at
FROM ratings JOIN responses ON responses.id = ratings.response
"""
VOTES = """
CREATE TABLE old_votes AS
SELECT votes.comparison, responses.experiment, responses.unit, votes.preferred, votes.created_at
FROM votes
LEFT JOIN responses ON responses.comparison = votes.comparison AND responses.variant = votes.preferred
"""
LATENCIES = "SELECT arm, total_ms FROM responses WHERE experiment = :id AND comparison IS NULL AND problem IS NULL"
ERRORS = "SELECT arm, count(*) FROM responses WHERE experiment = :id AND problem IS NOT NULL GROUP BY arm"
IN_ORDER = "SELECT arm, unit, rating FROM ratings WHERE experiment = :id ORDER BY created_at, response"
WINS = """
SELECT votes.preferred, other.variant, count(*)
FROM votes JOIN responses AS other ON other.comparison = votes.comparison AND other.variant <> votes.preferred
WHERE votes.experiment = :id AND other.experiment = :id GROUP BY votes.preferred, other.variant
"""


def upgrade() -> None:
    """Makes the tables, and fills them from the responses, ratings and votes that there are."""
    op.create_index("ix_responses_experiment_created", "responses", ["experiment", "created_at"])
    op.drop_index("ix_responses_arm", "responses")
    op.create_table(
        "live_agreements",
        sa.Column("task", NAME, nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        *_numbers(sa.Integer, "outputs", "exact"),
        *_numbers(sa.Double, "total", "variation"),
        sa.PrimaryKeyConstraint("task", "digest", "reference"),
    )
    arms = _create(
        "experiment_arms",
        [sa.Column("arm", NAME, nullable=False)],
        *_numbers(sa.Integer, "errors", "ratings"),
        *_numbers(sa.Double, "rating_total", "rating_variation"),
        *_numbers(sa.Integer, "outputs", "exact"),
        *_numbers(sa.Double, "total", "variation"),
    )
    pairs = _create(
        "experiment_pairs",
        [sa.Column(name, NAME, nullable=False) for name in ("first", "second")],
        *_numbers(sa.Integer, "votes"),
        *_numbers(sa.Double, "wins"),
        *_numbers(sa.Integer, "ties"),
    )
    bucket = sa.Column("bucket", sa.Integer(), nullable=False, autoincrement=False)
    latencies = _create(
        "experiment_latencies", [sa.Column("arm", NAME, nullable=False), bucket], *_numbers(sa.Integer, "responses")
    )
    units = _create("experiment_units", [sa.Column(name, NAME, nullable=False) for name in ("unit", "first", "second")])
    _replace_ratings_and_votes()
    connection = op.get_bind()
    for identifier, listed in connection.execute(sa.select(EXPERIMENTS.c.id, EXPERIMENTS.c.arms)).all():
        names = [arm["variant"] for arm in listed]
        shown, rated = _rated(identifier, names)
        for arm, count in connection.execute(sa.text(ERRORS), {"id": identifier}):
            shown[arm]["errors"] = count
        _fill(arms, identifier, list(shown.values()))
        _fill(units, identifier, [{"unit": unit, "first": "", "second": ""} for unit in sorted(rated)])
        _fill(latencies, identifier, _latencies(identifier))
        _fill(pairs, identifier, _pairs(identifier, names))


def downgrade() -> None:
    """Removes what is counted. Ratings of responses that were deleted, and ties, are lost."""
    for name in ("experiment_units", "experiment_latencies", "experiment_pairs", "experiment_arms", "live_agreements"):
        op.drop_table(name)
    time = sa.DateTime(timezone=True)
    op.execute("CREATE TABLE old_ratings AS SELECT * FROM ratings WHERE response IN (SELECT id FROM responses)")
    op.execute("CREATE TABLE old_votes AS SELECT * FROM votes WHERE preferred IS NOT NULL")
    op.drop_table("ratings")
    op.drop_table("votes")
    op.create_table(
        "ratings",
        sa.Column("response", NAME, nullable=False),
        sa.Column("rating", sa.Double(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.ForeignKeyConstraint(["response"], ["responses.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("response"),
    )
    op.create_table(
        "votes",
        sa.Column("comparison", NAME, nullable=False),
        sa.Column("preferred", NAME, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.PrimaryKeyConstraint("comparison"),
    )
    _move("ratings", "response, rating, created_at")
    _move("votes", "comparison, preferred, created_at")
    op.create_index("ix_responses_arm", "responses", ["experiment", "arm", "created_at"])
    op.drop_index("ix_responses_experiment_created", "responses")


def _numbers(kind: type[sa.Integer] | type[sa.Double[float]], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind(), nullable=False) for name in names]


def _create(name: str, keys: Sequence[sa.Column[Any]], *columns: sa.Column[Any]) -> sa.Table:
    """Makes a table whose rows belong to an experiment, and go with it."""
    return op.create_table(
        name,
        sa.Column("experiment", NAME, nullable=False),
        *keys,
        *columns,
        sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("experiment", *(key.name for key in keys)),
    )


def _replace_ratings_and_votes() -> None:
    """Makes both tables anew: SQLite cannot drop a constraint."""
    for statement in (RATINGS, VOTES, "DROP TABLE ratings", "DROP TABLE votes"):
        op.execute(statement)
    for name, key, other in (
        ("ratings", "response", [sa.Column("arm", NAME, nullable=True), *_numbers(sa.Double, "rating")]),
        ("votes", "comparison", [sa.Column("preferred", NAME, nullable=True)]),
    ):
        op.create_table(
            name,
            sa.Column(key, NAME, nullable=False),
            sa.Column("experiment", NAME, nullable=True),
            sa.Column("unit", NAME, nullable=True),
            *other,
            sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
            sa.ForeignKeyConstraint(["experiment"], ["experiments.id"], ondelete="CASCADE"),
            sa.PrimaryKeyConstraint(key),
        )
        op.create_index(f"ix_{name}_experiment", name, ["experiment"])
    _move("ratings", "response, experiment, arm, unit, rating, created_at")
    _move("votes", "comparison, experiment, unit, preferred, created_at")


def _move(name: str, columns: str) -> None:
    op.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM old_{name}")
    op.execute(f"DROP TABLE old_{name}")


def _rated(identifier: str, names: Sequence[str]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """Returns the row of each arm, with the sums of the first rating of each unit, and the units."""
    shown: dict[str, dict[str, Any]] = {
        name: {"arm": name, "errors": 0, "ratings": 0, "rating_total": 0.0, "rating_variation": 0.0}
        | {"outputs": 0, "exact": 0, "total": 0.0, "variation": 0.0}
        for name in names
    }
    units: set[str] = set()
    for arm, unit, rating in op.get_bind().execute(sa.text(IN_ORDER), {"id": identifier}):
        if unit in units:
            continue
        if unit is not None:
            units.add(unit)
        sums = shown[arm]
        # That of `slimseq.evaluation.sequential.confidence_sequence`.
        sums["rating_variation"] += (rating - (sums["rating_total"] + 0.5) / (sums["ratings"] + 1)) ** 2
        sums["rating_total"] += rating
        sums["ratings"] += 1
    return shown, units


def _latencies(identifier: str) -> list[dict[str, Any]]:
    """Returns the rows of latencies, in the buckets of `slimseq.app.jobs.experiments.latency_buckets`."""
    counts: Counter[tuple[str, int]] = Counter()
    for arm, total_ms in op.get_bind().execute(sa.text(LATENCIES), {"id": identifier}):
        counts[arm, max(0, math.ceil(math.log(max(total_ms or 0.0, 0.001) / 0.001, 1.02)))] += 1
    return [{"arm": arm, "bucket": bucket, "responses": count} for (arm, bucket), count in counts.items()]


def _pairs(identifier: str, names: Sequence[str]) -> list[dict[str, Any]]:
    wins = {(one, other): n for one, other, n in op.get_bind().execute(sa.text(WINS), {"id": identifier})}
    pairs = [(first, second) for number, first in enumerate(names) for second in names[number + 1 :]]
    return [
        {
            "first": first,
            "second": second,
            "votes": wins.get((first, second), 0) + wins.get((second, first), 0),
            "wins": float(wins.get((first, second), 0)),
            "ties": 0,
        }
        for first, second in pairs
    ]


def _fill(table: sa.Table, experiment: str, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), ROWS):
        piece = rows[start : start + ROWS]
        op.bulk_insert(table, [{"experiment": experiment, **row} for row in piece])
