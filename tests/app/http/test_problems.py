import json
from typing import Any

from slimseq.app.errors import MethodNotAllowed, NoVariantRetains, Overloaded
from slimseq.app.http.problems import describe, problem_of, problem_response, slug_of
from slimseq.models_store.errors import CorruptArtifact, UnknownVariant


def test_a_problem_is_named_after_its_error() -> None:
    problem = problem_of(UnknownVariant("translation", "nope", ["original"]))

    assert (problem.type, problem.status) == ("/problems/unknown-variant", 404)
    assert problem.detail == "translation has no variant 'nope'; it has original"
    assert slug_of(CorruptArtifact("translation/original", "onnx/decoder.onnx", "is missing")) == "corrupt-artifact"


def test_an_answer_carries_what_its_status_asks_for() -> None:
    overloaded = problem_response(Overloaded("the queue is full", 7))
    not_allowed = problem_response(MethodNotAllowed("PUT", "/translate", "POST"))

    assert (overloaded.status_code, overloaded.headers["retry-after"]) == (429, "7")
    assert overloaded.headers["content-type"] == "application/problem+json"
    assert json.loads(bytes(overloaded.body))["detail"] == "the queue is full; try again in 7 s"
    assert not_allowed.headers["allow"] == "POST"


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


def test_many_errors_are_counted_not_listed() -> None:
    errors = [{"type": "missing", "loc": ("body", f"field{n}"), "msg": "Field required"} for n in range(8)]

    assert describe(errors).endswith("field4: is required; and 3 more")


def test_what_each_variant_keeps_is_said() -> None:
    error = NoVariantRetains("translation", 0.99, [("original", 1.0), ("pruned", None)])

    assert "keeps 0.99 of its reference: original keeps 1.0000, pruned is unmeasured" in str(error)
