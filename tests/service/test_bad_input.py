"""Requests with wrong names, fields, bodies or queries: each is refused with a problem that says what is wrong."""

from pathlib import Path
from typing import Any

import pytest

from tests.service.client import Service
from tests.service.conftest import running_service
from tests.service.raw import answer_of, connect, head

pytestmark = pytest.mark.usefixtures("goes_on")
JSON = {"Content-Type": "application/json"}
COMPARE = "/compare?task=translation&variant=original&variant=quantized"
TOO_LARGE = b'{"text": "' + b"a" * (8 * 1024 * 1024) + b'"}'


@pytest.mark.parametrize(
    "path",
    [
        "/translate?variant=nope",
        "/summarize?variant=../original",
        "/variants/translation/nope",
        "/quality?task=translation&variant=nope",
        "/quality?variant=nope",
        "/compare?task=translation&variant=original&variant=nope",
    ],
)
def test_an_unknown_variant_is_not_found_and_the_known_are_named(service: Service, path: str) -> None:
    is_read = path.startswith(("/variants", "/quality"))
    refused = service.get(path) if is_read else service.post(path, {"text": "Good morning."})

    assert refused.status == 404
    assert refused.problem.type == "/problems/unknown-variant"
    assert "original" in refused.problem.detail
    assert "quantized" in refused.problem.detail


def test_the_type_of_a_problem_is_a_page_that_explains_it(service: Service) -> None:
    refused = service.get("/variants/translation/nope")

    page = service.get(refused.problem.type)
    unknown = service.get("/problems/nope")

    assert page.status == 200
    assert page.headers["content-type"].startswith("text/plain")
    assert page.text.startswith("Unknown variant (HTTP status 404)\n\nWhen a request names a variant")
    assert unknown.status == 404
    assert "unknown-variant" in unknown.problem.detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text": ""}, "text: must not be empty"),
        ({"text": " \n\t"}, "text: must not be empty"),
        ({"text": []}, "text: must not be an empty list"),
        ({"text": ["Yes.", ""]}, "text: entry 1 must not be empty"),
        ({"text": 5}, "text: must be a string or a list of strings, not a number"),
        ({"text": {"a": "b"}}, "not an object"),
        ({"text": ["Yes."] * 65}, "text: has 65 entries; at most 64"),
        ({"text": ["Yes."] * 17, "num_beams": 16}, "text: has 17 entries; at most 16 with num_beams 16"),
        ({"text": "\ud800"}, "surrogate"),
        ({}, "text: is required"),
        ([], "the body must be a JSON object"),
        ({"text": "Yes.", "num_beams": 0}, "num_beams: should be greater than or equal to 1, not 0"),
        ({"text": "Yes.", "num_beams": "4"}, "num_beams: should be a valid integer"),
        ({"text": "Yes.", "num_beams": True}, "num_beams"),
        ({"text": "Yes.", "max_new_tokens": 10**30}, "max_new_tokens"),
        ({"text": "Yes.", "max_new_tokens": 1024}, "max_new_tokens is 1024; this model has positions for"),
        ({"text": "Yes.", "min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens (9) is above max_new_tokens (8)"),
        ({"text": "Yes.", "do_sample": True, "top_p": 1e-320}, "top_p"),
        ({"text": "Yes.", "do_sample": True, "temperature": 1e-300, "top_p": 0.9}, "temperature"),
        ({"text": "Yes.", "do_sample": True, "temperature": 1e-38}, "temperature"),
        ({"text": "Yes.", "repetition_penalty": 1e-38}, "repetition_penalty"),
        ({"text": "Yes.", "do_sample": True, "top_k": 9000}, "top_k is 9000; this model's vocabulary has"),
        ({"text": "Yes.", "on_overflow": "ignore"}, "on_overflow"),
        ({"text": "Yes.", "stream": "yes"}, "stream"),
        ({"text": "Yes.", "source": "fr"}, "no variant translates from fr; there is en to de"),
        ({"text": "Yes.", "target": "fr"}, "no variant translates to fr; there is en to de"),
        ({"text": "Yes.", "prefix": "translate: "}, "prefix: is not a field here"),
        (
            {"text": "Yes.", "num_beam": 1},
            "num_beam: is not a field here, but num_beams is; the fields are text, num_b",
        ),
        ({"text": "Yes.", "variant": "compact"}, "variant: is not a field here, but a query parameter: ?variant=…"),
        ({"text": "Yes.", "varient": "compact"}, "varient: is not a field here, but a query parameter: ?variant=…"),
        ({"text": "Yes.", "temperature": 0.5}, "temperature has no effect without do_sample: true"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(service: Service, body: object, said: str) -> None:
    refused = service.post("/translate", body)

    assert refused.status == 422
    assert said in refused.problem.detail


def test_options_are_checked_against_the_model_on_every_runtime(service: Service) -> None:
    beyond = service.post("/translate?variant=compact", {"text": "Yes.", "do_sample": True, "top_k": 5000})

    assert beyond.status == 422
    assert "top_k is 5000; this model's vocabulary has 4500" in beyond.problem.detail


def test_a_prefix_that_fills_the_window_is_refused(service: Service) -> None:
    for long_input in ("truncate", "map_reduce"):
        body = {"text": "The bridge is closed. " * 900, "prefix": "word " * 199, "long_input": long_input}
        refused = service.post("/summarize", body)

        assert refused.status == 422
        assert "prefix: has" in refused.problem.detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"text": "Yes."', "not JSON: Expecting ',' delimiter at character"),
        (b"text=Yes", "not JSON"),
        (b"", "a JSON body is required"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_not_json_says_where(service: Service, body: bytes, said: str) -> None:
    refused = service.send("POST", "/translate", body, JSON)

    assert refused.status == 422
    assert said in refused.problem.detail


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_another_content_type_is_unsupported(service: Service, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    refused = service.send("POST", "/translate", b'{"text": "Yes."}', headers)

    assert refused.status == 415
    assert "application/json" in refused.problem.detail


def test_a_compressed_body_is_unsupported(service: Service) -> None:
    refused = service.send("POST", "/translate", b"\x1f\x8b", {**JSON, "Content-Encoding": "gzip"})

    assert refused.status == 415
    assert "gzip" in refused.problem.detail


def test_a_body_over_the_limit_is_too_large(service: Service) -> None:
    declared = service.send("POST", "/translate", TOO_LARGE, JSON)
    chunked = service.send(
        "POST", "/translate", iter([TOO_LARGE]), {**JSON, "Transfer-Encoding": "chunked"}, chunked=True
    )

    assert declared.status == chunked.status == 413
    assert "8388608 bytes" in declared.problem.detail


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "task=translation&variant=original,quantized",
            "query parameter variant: needs at least 2, not 1; repeat it: variant=…&variant=…",
        ),
        ("task=translation&" + "&".join(f"variant=v{n}" for n in range(9)), "takes at most 8, not 9"),
        ("task=translation&variant=original&variant=original", "twice"),
        ("task=haiku&variant=original&variant=quantized", "query parameter task"),
        ("variant=original&variant=quantized", "query parameter task: is required"),
    ],
)
def test_a_comparison_needs_a_task_and_two_to_eight_variants(service: Service, query: str, said: str) -> None:
    refused = service.post(f"/compare?{query}", {"text": "Yes."})

    assert refused.status == 422
    assert said in refused.problem.detail


@pytest.mark.parametrize("foreign", [{"prefix": ""}, {"stream": True}, {"long_input": "truncate"}])
def test_a_comparison_takes_only_the_fields_of_its_task(service: Service, foreign: dict[str, Any]) -> None:
    refused = service.post(COMPARE, {"text": "Yes.", **foreign})

    assert refused.status == 422
    assert next(iter(foreign)) in refused.problem.detail


@pytest.mark.parametrize(
    "query", ["variant=original&min_retention=0.9", "min_retention=nan", "min_retention=0", "min_retention=x"]
)
def test_a_senseless_min_retention_is_refused(service: Service, query: str) -> None:
    refused = service.post(f"/translate?{query}", {"text": "Yes."})

    assert refused.status == 422
    assert "min_retention" in refused.problem.detail


def test_unknown_paths_and_methods_are_problems_too(service: Service) -> None:
    nowhere = service.get("/nowhere")
    wrong_method = service.get("/translate")

    assert nowhere.status == 404
    assert "/nowhere" in nowhere.problem.detail
    assert wrong_method.status == 405
    assert wrong_method.headers["allow"] == "POST"
    assert wrong_method.problem.type == "/problems/method-not-allowed"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/evaluations", {"GET", "POST"}),
        ("/evaluations/", {"GET", "POST"}),
        ("/evaluations/some", {"GET", "DELETE"}),
        ("/evaluations/upload", {"POST"}),
        ("/", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_a_path_does_not_have_is_answered_with_those_it_has(
    service: Service, path: str, methods: set[str]
) -> None:
    answer = service.send("PUT", path)

    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) == methods


def test_a_problem_carries_the_request_id(service: Service) -> None:
    offered = service.get("/nowhere", {"X-Request-ID": "trace:1/2.3-4_5"})
    replaced = [service.get("/nowhere", {"X-Request-ID": each}) for each in ("", 'a" b', "\xe4", "x" * 129)]

    assert offered.problem.request_id == offered.headers["x-request-id"] == "trace:1/2.3-4_5"
    assert len({each.problem.request_id for each in replaced}) == 4
    for each in replaced:
        assert each.problem.request_id == each.headers["x-request-id"]
        assert len(each.problem.request_id) == 32


# Half a surrogate pair, which is no text.
HALF = "\ud800"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/translate", {"text": HALF}),
        ("/translate", {"text": "Hi.", "target": f"{HALF}x"}),
        (COMPARE, {"text": "Hi.", "target": f"{HALF}x"}),
        ("/summarize", {"text": "Hi.", "prefix": HALF}),
        ("/translate", {"text": "Hi.", HALF: 1}),
        ("/evaluations", {"task": HALF, "variants": ["original"], "dataset": "sample"}),
        ("/evaluations", {"task": "translation", "variants": ["original"], "pairs": [{"source": HALF, "target": "a"}]}),
        ("/evaluations", {"task": "translation", "variants": ["original"], "pairs": [{"source": "a", "target": HALF}]}),
    ],
)
def test_half_a_surrogate_pair_is_refused_in_every_field(service: Service, path: str, body: object) -> None:
    answer = service.post(path, body)

    assert answer.status == 422, answer.text
    assert answer.problem.detail


def test_a_body_that_never_ends_gets_an_answer(log: Path) -> None:
    with running_service(log, waits=False, request_timeout_seconds=1) as impatient, connect(impatient) as connection:
        connection.sendall(head("POST", "/translate", "Content-Length: 1000") + b'{"text":')
        answer = answer_of(connection)

    assert answer.status == 408
    assert "the body did not arrive within 1 s" in answer.problem.detail


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "/translate?varient=original",
            "'varient': is not one of this endpoint's; it has variant, min_ret",
        ),
        ("/summarize?variant=original&x=1", "'x'"),
        (
            "/translate?num_beams=2",
            "'num_beams': is not one of this endpoint's; it is a field of the body; it has variant",
        ),
        ("/compare?task=translation&variant=original&variants=quantized", "'variants'"),
        ("/variants?task=translation", "'task': is not one of this endpoint's; it has none"),
    ],
)
def test_a_misspelt_query_parameter_is_named(service: Service, path: str, said: str) -> None:
    refused = service.get(path) if path.startswith("/variants") else service.post(path, {"text": "Good morning."})

    assert refused.status == 422
    assert refused.problem.type == "/problems/invalid-request"
    assert said in refused.problem.detail


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/translate?variant=original&variant=quantized", "variant"),
        ("/summarize?variant=original&variant=original", "variant"),
        ("/translate?min_retention=0.9&runtime=auto&min_retention=0.5", "min_retention"),
        ("/compare?task=translation&task=summarization&variant=original&variant=quantized", "task"),
        ("/compare?task=translation&variant=original&variant=quantized&runtime=auto&runtime=auto", "runtime"),
        ("/latency?task=translation&task=translation", "task"),
    ],
)
def test_a_repeated_query_parameter_is_named(service: Service, path: str, name: str) -> None:
    refused = service.get(path) if path.startswith("/latency") else service.post(path, {"text": "Good morning."})

    assert refused.status == 422
    assert refused.problem.type == "/problems/invalid-request"
    assert refused.problem.detail == f"query parameter {name!r}: is given 2 times; give it once"
