"""Both clients against answers that the tests write. `tests/service/test_client.py` has a real service."""

import asyncio
import email.utils
import inspect
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import pytest

from slimseq.app.generate.schemas import SummarizeRequest, TranslateRequest
from slimseq.client import (
    AsyncClient,
    Client,
    ClientError,
    Generation,
    Options,
    Retry,
    ServiceProblem,
    UnexpectedAnswer,
    Unreachable,
    VariantChoice,
)

ANSWER = {
    "id": "r1",
    "task": "translation",
    "variant": "quantized",
    "digest": "sha256:0",
    "runtime": "onnxruntime",
    "outputs": [
        {"text": "Ja.", "finish_reason": "eos", "input_tokens": 3, "output_tokens": 3, "truncated": False},
    ],
    "timings": {"queue_ms": 0.1, "inference_ms": 1.0, "total_ms": 1.2},
    "of_a_newer_service": 1,
}
RECORDED = {"task": "translation", "variant": "quantized", "experiment": None}
QUICK = Retry(first_wait_seconds=0.001)
Answers = Sequence[httpx2.Response | Exception]


def problem(status: int, headers: dict[str, str] | None = None, slug: str = "overloaded") -> httpx2.Response:
    body = {"type": f"/problems/{slug}", "title": "T", "status": status, "detail": "why", "request_id": "r1"}
    return httpx2.Response(status, json=body, headers={"Content-Type": "application/problem+json", **(headers or {})})


def ok() -> httpx2.Response:
    return httpx2.Response(200, json=ANSWER)


class Answering:
    """A transport that gives one answer after the other, and keeps the requests."""

    def __init__(self, answers: Answers) -> None:
        self.requests: list[httpx2.Request] = []
        self._answers = list(answers)
        self.transport = httpx2.MockTransport(self._handle)

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        # A response can be read once, and tests share theirs.
        return httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


def with_client(answering: Answering, retry: Retry = QUICK) -> Generation:
    with Client("http://service", retry=retry, transport=answering.transport) as client:
        return client.translate("Yes.")


def with_async_client(answering: Answering, retry: Retry = QUICK) -> Generation:
    async def run() -> Generation:
        async with AsyncClient("http://service", retry=retry, transport=answering.transport) as client:
            return await client.translate("Yes.")

    return asyncio.run(run())


BOTH = pytest.mark.parametrize("translate", [with_client, with_async_client])
Translate = Callable[..., Generation]


@BOTH
def test_fields_of_a_newer_service_are_kept(translate: Translate) -> None:
    answer = translate(Answering([ok()]))

    assert answer.text == "Ja." and answer.model_extra == {"of_a_newer_service": 1}


@BOTH
@pytest.mark.parametrize(
    "first",
    [
        problem(429, {"Retry-After": "0"}),
        problem(429),
        problem(503, {"Retry-After": "0"}),
        problem(429, {"Retry-After": email.utils.formatdate(time.time() - 5)}),
        httpx2.ConnectError("refused"),
        httpx2.RemoteProtocolError("Server disconnected without sending a response."),
        httpx2.ReadError("reset"),
        # The answer of a proxy whose service has ended.
        httpx2.Response(500, text="Internal Server Error"),
    ],
)
def test_a_call_whose_failure_may_pass_is_sent_again(translate: Translate, first: httpx2.Response | Exception) -> None:
    answering = Answering([first, ok()])

    assert translate(answering).text == "Ja."
    assert len(answering.requests) == 2 and answering.requests[0].content == answering.requests[1].content


@BOTH
def test_retry_after_is_honoured(translate: Translate) -> None:
    started = time.monotonic()

    translate(Answering([problem(429, {"Retry-After": "1"}), ok()]))

    assert 1 <= time.monotonic() - started < 5


@BOTH
@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([problem(422)], 1),
        # The service names a time to wait where a failure may pass. Without `Retry-After`, a 503 stays as it is: the
        # files of a variant are corrupt, for example.
        ([problem(503)], 1),
        # The client waits for at most 30 s.
        ([problem(429, {"Retry-After": "31"})], 1),
        ([problem(429, {"Retry-After": email.utils.formatdate(time.time() + 3600)})], 1),
        # The client tries four times.
        ([problem(429)] * 4, 4),
        # The service reports an error of its own, which another attempt would meet again. A 500 without a problem comes
        # from a proxy, and the call is sent again then.
        ([problem(500)], 1),
        # The service may still be working on the first request.
        ([httpx2.ReadTimeout("slow")], 1),
        ([httpx2.Response(404, text="Not Found")], 1),
    ],
)
def test_a_failure_that_will_not_pass_soon_is_raised(translate: Translate, answers: Answers, requests: int) -> None:
    answering = Answering(answers)

    with pytest.raises(ClientError):
        translate(answering)

    assert len(answering.requests) == requests


@BOTH
def test_a_problem_has_its_fields(translate: Translate) -> None:
    with pytest.raises(ServiceProblem) as raised:
        translate(Answering([problem(404, slug="unknown-variant")]))

    error = raised.value
    assert (error.type, error.status, error.detail) == ("/problems/unknown-variant", 404, "why")
    assert error.request_id == "r1" and "why" in str(error) and "r1" in str(error)


@BOTH
@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(502, text="<html>Bad Gateway</html>"),
        httpx2.Response(500, json=["no", "problem"]),
        httpx2.Response(200, text="<html>Welcome</html>"),
        httpx2.Response(200, json={"hello": "world"}),
    ],
)
def test_the_answer_of_another_program_is_shown(translate: Translate, answer: httpx2.Response) -> None:
    with pytest.raises(UnexpectedAnswer, match=f"status {answer.status_code}"):
        translate(Answering([answer]), Retry(attempts=1))


@BOTH
def test_a_service_that_is_not_there_is_unreachable(translate: Translate) -> None:
    with pytest.raises(Unreachable, match=r"^http://service/translate: refused$") as raised:
        translate(Answering([httpx2.ConnectError("refused")] * 2), Retry(attempts=2, first_wait_seconds=0.001))

    assert isinstance(raised.value.__cause__, httpx2.ConnectError) and not raised.value.is_sent


def test_the_choice_of_the_variant_goes_into_the_query_and_the_terms_of_a_request_into_headers() -> None:
    chosen: VariantChoice = {"min_retention": 0.98, "max_latency_ms": 50, "max_bytes": 10**7, "variant": None}
    compared = {"id": "c1", "task": "translation", "results": []}
    answering = Answering([ok(), httpx2.Response(200, json=compared)])

    with Client("http://service", transport=answering.transport) as client:
        client.translate("Yes.", **chosen, unit="Jürgen", deadline_ms=500, priority="low", num_beams=1)
        client.compare("translation", ["a", "b"], "Yes.", deadline_ms=700)

    request, comparing = answering.requests
    assert dict(request.url.params) == {"min_retention": "0.98", "max_latency_ms": "50", "max_bytes": "10000000"}
    assert dict(request.headers.raw)[b"X-Slimseq-Unit"] == "Jürgen".encode()
    assert (request.headers["x-request-deadline-ms"], request.headers["x-request-priority"]) == ("500", "low")
    assert comparing.headers["x-request-deadline-ms"] == "700" and "x-request-priority" not in comparing.headers
    assert json.loads(comparing.content) == {"text": "Yes."}
    assert json.loads(request.content) == {"text": "Yes.", "num_beams": 1}


def test_options_that_the_client_does_not_know_are_sent() -> None:
    answering = Answering([ok()])

    with Client("http://service", transport=answering.transport) as client:
        client.translate("Yes.", of_a_newer_service=1)  # type: ignore[call-arg]

    (request,) = answering.requests
    assert json.loads(request.content) == {"text": "Yes.", "of_a_newer_service": 1}


def test_a_rating_is_sent_with_its_comment_and_without_a_unit_that_is_not_given() -> None:
    answering = Answering([httpx2.Response(201, json=RECORDED)])

    with Client("http://service", transport=answering.transport) as client:
        client.rate("r1", 0.5, comment="Good.")

    (request,) = answering.requests
    assert json.loads(request.content) == {"response": "r1", "rating": 0.5, "comment": "Good."}
    assert "x-slimseq-unit" not in request.headers


def test_a_vote_for_no_variant_is_sent_with_its_unit() -> None:
    answering = Answering([httpx2.Response(201, json=RECORDED)])

    with Client("http://service", transport=answering.transport) as client:
        client.vote("c1", None, unit="user-7")

    (request,) = answering.requests
    assert json.loads(request.content) == {"comparison": "c1", "preferred": None}
    assert request.headers["x-slimseq-unit"] == "user-7"


def test_an_id_is_one_part_of_the_path_whatever_it_holds() -> None:
    answering = Answering([httpx2.Response(204)])

    with Client("http://service", transport=answering.transport) as client:
        client.delete_experiment("a/b?c")

    (request,) = answering.requests
    assert request.method == "DELETE" and request.url.raw_path == b"/experiments/a%2Fb%3Fc"


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.start_evaluation("translation", ["original"], dataset="sample"),
        lambda client: client.rate("r1", 1),
        lambda client: client.vote("c1", "quantized"),
        lambda client: client.start_experiment("translation", "Which?", ["quantized", "pruned"]),
    ],
)
def test_a_call_that_must_not_arrive_twice_is_not_sent_again_if_it_may_have_arrived(
    call: Callable[[Client], object],
) -> None:
    closed = httpx2.RemoteProtocolError("Server disconnected without sending a response.")
    answering = Answering([closed, closed])

    with Client("http://service", retry=QUICK, transport=answering.transport) as client, pytest.raises(Unreachable):
        call(client)

    assert len(answering.requests) == 1


def test_a_stream_that_ends_early_says_so() -> None:
    events = b'event: token\ndata: {"index": 0, "text": "Ja"}\n\n'
    answering = Answering([httpx2.Response(200, content=events, headers={"Content-Type": "text/event-stream"})])

    with Client("http://service", transport=answering.transport) as client:
        stream = client.stream("translation", "Yes.")
        first = next(stream)
        with pytest.raises(Unreachable, match="before its last event"):
            next(stream)

    assert first.text == "Ja"


def test_a_token_is_sent_as_a_bearer() -> None:
    answering = Answering([httpx2.Response(200, json={"variants": []})])

    with Client("http://service/below", token="secret", transport=answering.transport) as client:
        assert client.variants() == []

    (request,) = answering.requests
    assert request.headers["authorization"] == "Bearer secret" and request.url == "http://service/below/variants"


def test_both_clients_have_the_same_methods_and_signatures() -> None:
    def methods(kind: type) -> dict[str, Any]:
        public = {name: each for name, each in vars(kind).items() if callable(each) and not name.startswith("_")}
        return {name: list(inspect.signature(each).parameters.values()) for name, each in public.items()}

    assert methods(Client) == methods(AsyncClient)


def test_the_options_are_those_of_the_service() -> None:
    known = {*SummarizeRequest.model_fields, *TranslateRequest.model_fields} - {"text", "stream"}

    assert set(Options.__annotations__) == known
