"""Errors as problems: the table of types, and the words about wrong fields."""

from pathlib import Path
from typing import Any

from slimseq.app.errors import ServiceError, UnusableKeysFile
from slimseq.app.http.problems import PROBLEM_TYPES, describe, problem_of
from slimseq.evaluation.calibration import CannotCalibrate
from slimseq.evaluation.choice import CannotChoose
from slimseq.evaluation.dataset_files import DatasetUnavailable
from slimseq.evaluation.gate import NotMeasured
from slimseq.inference.text.errors import InvalidPrompt
from slimseq.models_store.errors import (
    ArtifactInUse,
    BadSource,
    CannotWrite,
    CorruptArtifact,
    SlimseqError,
    UnknownVariant,
    UnusableKey,
)

# Classes with the problem type of another class: of `InternalError` and of `InvalidRequest`.
SAME_AS_ANOTHER = (SlimseqError, InvalidPrompt)
# Classes that only commands raise, or the start of the service.
OFFLINE = {ArtifactInUse, BadSource, CannotCalibrate, CannotChoose, NotMeasured, UnusableKey, UnusableKeysFile}


def test_a_problem_is_named_after_its_error() -> None:
    problem = problem_of(UnknownVariant("translation", "nope", ["original"]))

    assert (problem.type, problem.status) == ("/problems/unknown-variant", 404)
    assert problem.detail == "translation has no variant 'nope'; it has original"
    corrupt = problem_of(CorruptArtifact("translation/original", "onnx/decoder.onnx", "is missing"))
    assert (corrupt.type, corrupt.status) == ("/problems/corrupt-artifact", 503)
    assert corrupt.title == "Artifact failed verification"


def test_errors_of_the_lower_rooms_have_the_status_that_clients_know() -> None:
    disk_full = problem_of(CannotWrite(Path("a store"), "No space left on device"))
    no_dataset = problem_of(DatasetUnavailable("there is no such file"))

    assert (disk_full.status, disk_full.title) == (507, "Cannot write")
    assert (no_dataset.status, no_dataset.title) == (422, "Data set unavailable")


def test_every_error_that_the_service_may_raise_has_a_type_of_its_own() -> None:
    rooms = ("slimseq.app", "slimseq.evaluation", "slimseq.inference", "slimseq.models_store")
    # `slimseq generate` works on files: the service has none of it.
    commands = "slimseq.evaluation.bulk"
    found = {*SlimseqError.__subclasses__(), *ServiceError.__subclasses__()} - {ServiceError}
    kinds = {kind for kind in found if kind.__module__.startswith(rooms) and not kind.__module__.startswith(commands)}
    slugs = [each.slug for kind, each in PROBLEM_TYPES.items() if kind not in SAME_AS_ANOTHER]

    assert kinds - set(PROBLEM_TYPES) == OFFLINE
    assert len(set(slugs)) == len(slugs)


def test_an_error_that_the_table_does_not_know_is_answered_as_its_base_class() -> None:
    class AddedLater(CorruptArtifact):
        """A class that somebody adds, and forgets in the table."""

    problem = problem_of(AddedLater("translation/original", "onnx/decoder.onnx", "is missing"))

    assert (problem.type, problem.status) == ("/problems/corrupt-artifact", 503)


def test_places_are_written_as_in_json() -> None:
    errors: list[dict[str, Any]] = [
        {"type": "missing", "loc": ("body", "pairs", 3, "source"), "msg": "Field required", "input": {}},
        {"type": "greater_than", "loc": ("query", "n"), "msg": "Input should be greater than 0", "input": "0"},
        {"type": "value_error", "loc": (), "msg": "Value error, a is above b", "input": {}},
    ]

    assert (
        describe(errors)
        == 'pairs[3].source: is required; query parameter n: should be greater than 0, not "0"; a is above b'
    )


def test_a_long_name_of_a_field_is_shortened() -> None:
    name = "k" * 4_000_000

    assert (
        describe([{"loc": ("body", name), "type": "extra_forbidden", "input": 1}])
        == f"{'k' * 60}…: is not a field here"
    )


def test_many_errors_are_counted_not_listed() -> None:
    errors = [{"type": "missing", "loc": ("body", f"field{n}"), "msg": "Field required"} for n in range(8)]

    assert describe(errors).endswith("field4: is required; and 3 more")


def test_a_detail_is_printable_and_long_values_are_cut() -> None:
    problem = problem_of(UnknownVariant("translation", "a\u202e\u009b\u2028\x1b\ud83d" + "x" * 30_000, ["original"]))

    assert problem.detail.isprintable()
    assert len(problem.detail) < 1100
    assert problem.detail.endswith("it has original")
