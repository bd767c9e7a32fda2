"""What each call of the client sends, and how its answer is read. It is the same for both clients."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from httpx2 import Response, ServerSentEvent
from pydantic import ValidationError

from slimseq.client.answers import Answer, Comparison, Evaluation, Generation, Piece, Quality, Variant
from slimseq.client.errors import ClientError, EvaluationFailed, ServiceProblem, UnexpectedAnswer, Unreachable, error_of
from slimseq.client.experiments import Experiment, ExperimentSummary, Feedback

T = TypeVar("T")
Task = Literal["summarization", "translation"]
Texts = str | Sequence[str]
Format = Literal["text", "html", "markdown"]

PATHS: Mapping[Task, str] = {"summarization": "/summarize", "translation": "/translate"}
TERMS_HEADERS = {
    "deadline_ms": b"X-Request-Deadline-Ms",
    "priority": b"X-Request-Priority",
    "unit": b"X-Slimseq-Unit",
}
FIRST_ERROR = 400


class Options(TypedDict, total=False):
    """Generation options, with transformers' names and meanings. One that is left out has the variant's default."""

    num_beams: int
    length_penalty: float
    early_stopping: bool
    no_repeat_ngram_size: int
    min_new_tokens: int
    max_new_tokens: int
    repetition_penalty: float
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    seed: int
    stop: Sequence[str]
    on_overflow: Literal["truncate", "error"]
    format: Format
    # Of summaries.
    prefix: str
    long_input: Literal["truncate", "map_reduce"]
    # Of translations.
    source: str
    target: str
    protect: bool


class Choice(TypedDict, total=False):
    """What selects the variant and the runtime. None, or left out: no such wish.

    Without a name and without limits, the arm of a running experiment answers, else the default of the task.
    """

    variant: str | None
    # The least share of the base model's quality, such as 0.98, in place of a name.
    min_retention: float | None
    # The most milliseconds for one text, as measured, likewise.
    max_latency_ms: float | None
    # The most bytes of the model's files, likewise.
    max_bytes: int | None
    runtime: str | None


class Terms(TypedDict, total=False):
    """The terms of a request. None, or left out: no such wish."""

    # Milliseconds in which the service answers, if its own deadline is longer.
    deadline_ms: int | None
    # `low` waits behind others.
    priority: Literal["normal", "low"] | None
    # What keeps its arm of an experiment, or votes, such as the id of a user.
    unit: str | None


class ChosenOptions(Options, Choice, Terms, total=False):
    """Generation options, what selects the variant and the runtime, and the terms of the request."""


class ComparedOptions(Options, Terms, total=False):
    """Generation options, and the terms of the request."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and the function that reads the JSON of its answer.

    Args:
        method: GET, POST or DELETE.
        path: path below the service's URL.
        read: validates the JSON of the answer.
        query: query parameters.
        body: JSON to post.
        headers: further headers.
        is_repeatable: whether the call may reach the service twice without harm.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[bytes, bytes] | None = None
    is_repeatable: bool = True

    def result(self, response: Response) -> T:
        """Returns the answer.

        Raises:
            ServiceProblem: the service refused the request, or failed.
            UnexpectedAnswer: the answer has another form.
        """
        if response.status_code >= FIRST_ERROR:
            raise error_of(response)
        try:
            return self.read(response.content)
        except ValidationError as error:
            raise UnexpectedAnswer(response, response.text) from error


class _Variants(Answer):
    variants: list[Variant]


class _Qualities(Answer):
    qualities: list[Quality]


class _Evaluations(Answer):
    evaluations: list[Evaluation]


class _Experiments(Answer):
    experiments: list[ExperimentSummary]


def generate(task: Task, text: Texts, options: ChosenOptions) -> Call[Generation]:
    """Returns the call of `/summarize` or `/translate`."""
    chosen = _given({name: options.get(name) for name in Choice.__annotations__})
    own = {name: value for name, value in options.items() if name not in Choice.__annotations__}
    body, headers = _body(text, own), _headers(own)
    return Call("POST", PATHS[task], Generation.model_validate_json, chosen, body, headers)


def stream(task: Task, text: Texts, options: ChosenOptions) -> Call[Generation]:
    """Returns the call of `/summarize` or `/translate` with `stream`."""
    call = generate(task, text, options)
    return replace(call, body={**(call.body or {}), "stream": True})


def compare(
    task: Task, variants: Sequence[str], text: Texts, runtime: str | None, options: ComparedOptions
) -> Call[Comparison]:
    """Returns the call of `/compare`."""
    query = _given({"task": task, "variant": list(variants), "runtime": runtime})
    return Call("POST", "/compare", Comparison.model_validate_json, query, _body(text, options), _headers(options))


def variants() -> Call[list[Variant]]:
    """Returns the call of `/variants`."""
    return Call("GET", "/variants", lambda content: _Variants.model_validate_json(content).variants)


def variant(task: Task, name: str) -> Call[Variant]:
    """Returns the call of `/variants/{task}/{variant}`."""
    return Call("GET", f"/variants/{task}/{quote(name, safe='')}", Variant.model_validate_json)


def quality(task: Task | None, variant: str | None) -> Call[list[Quality]]:
    """Returns the call of `/quality`."""
    query = _given({"task": task, "variant": variant})
    return Call("GET", "/quality", lambda content: _Qualities.model_validate_json(content).qualities, query)


def start_evaluation(
    task: Task,
    variants: Sequence[str],
    dataset: str | None,
    samples: int | None,
    pairs: Sequence[Mapping[str, str]] | None,
    more: Mapping[str, Any],
) -> Call[Evaluation]:
    """Returns the call of `POST /evaluations`."""
    fields = {
        "dataset": dataset,
        "samples": samples,
        "pairs": None if pairs is None else [dict(each) for each in pairs],
    }
    body = {"task": task, "variants": list(variants), **_given(fields), **more}
    return Call("POST", "/evaluations", Evaluation.model_validate_json, body=body, is_repeatable=False)


def evaluation(identifier: str, method: str = "GET") -> Call[Evaluation]:
    """Returns the call of `/evaluations/{id}`: to read it, or with DELETE to cancel or delete it."""
    path = f"/evaluations/{quote(identifier, safe='')}"
    # A second DELETE would delete what the first one cancelled.
    return Call(method, path, Evaluation.model_validate_json, is_repeatable=method == "GET")


def evaluations() -> Call[list[Evaluation]]:
    """Returns the call of `GET /evaluations`."""
    return Call("GET", "/evaluations", lambda content: _Evaluations.model_validate_json(content).evaluations)


def start_experiment(
    task: Task, name: str, arms: Mapping[str, float] | Sequence[str], margin: float | None, more: Mapping[str, Any]
) -> Call[Experiment]:
    """Returns the call of `POST /experiments`."""
    weights = arms.items() if isinstance(arms, Mapping) else [(variant, 1.0) for variant in arms]
    posted = [{"variant": variant, "weight": weight} for variant, weight in weights]
    body = {"task": task, "name": name, "arms": posted, **_given({"margin": margin}), **more}
    return Call("POST", "/experiments", Experiment.model_validate_json, body=body, is_repeatable=False)


def experiment(identifier: str) -> Call[Experiment]:
    """Returns the call of `GET /experiments/{id}`."""
    return Call("GET", f"/experiments/{quote(identifier, safe='')}", Experiment.model_validate_json)


def experiments() -> Call[list[ExperimentSummary]]:
    """Returns the call of `GET /experiments`."""
    return Call("GET", "/experiments", lambda content: _Experiments.model_validate_json(content).experiments)


def stop_experiment(identifier: str) -> Call[Experiment]:
    """Returns the call of `POST /experiments/{id}/stop`."""
    return Call("POST", f"/experiments/{quote(identifier, safe='')}/stop", Experiment.model_validate_json)


def delete_experiment(identifier: str) -> Call[None]:
    """Returns the call of `DELETE /experiments/{id}`."""
    return Call("DELETE", f"/experiments/{quote(identifier, safe='')}", lambda _: None)


def feedback(fields: Mapping[str, Any], unit: str | None, more: Mapping[str, Any]) -> Call[Feedback]:
    """Returns the call of `POST /feedback`. The service refuses what was judged before, so it is sent once."""
    body, read = {**fields, **more}, Feedback.model_validate_json
    return Call("POST", "/feedback", read, body=body, headers=_headers({"unit": unit}), is_repeatable=False)


def read_event(event: ServerSentEvent) -> Piece | Generation:
    """Returns the piece or the answer that an event of a stream holds.

    Raises:
        ServiceProblem: the generation failed.
    """
    if event.event == "token":
        return Piece.model_validate_json(event.data)
    if event.event == "done":
        return Generation.model_validate_json(event.data)
    raise ServiceProblem.of(json.loads(event.data))


def url_of(base: object, call: Call[Any]) -> str:
    """Returns the URL of a call, for its errors: a path alone does not say which service did not answer."""
    return f"{str(base).rstrip('/')}{call.path}"


def ended_early(url: str) -> ClientError:
    """Returns the error of a stream without a `done` event."""
    return Unreachable(f"{url}: the stream ended before its last event")


def check_ended(evaluation: Evaluation) -> Evaluation:
    """Returns an evaluation that succeeded.

    Raises:
        EvaluationFailed: it failed or was cancelled.
    """
    if evaluation.status == "succeeded":
        return evaluation
    reason = f": {evaluation.error.detail}" if evaluation.error else ""
    raise EvaluationFailed(f"evaluation {evaluation.id} {evaluation.status}{reason}")


def _body(text: Texts, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": _texts(text), **{name: value for name, value in options.items() if name not in TERMS_HEADERS}}


def _headers(terms: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    """Returns the headers of terms. A header holds bytes: those of a unit in any script are UTF-8."""
    given = {name: terms.get(name) for name in TERMS_HEADERS}
    return {TERMS_HEADERS[name]: str(value).encode() for name, value in given.items() if value is not None}


def _texts(text: Texts) -> str | list[str]:
    return text if isinstance(text, str) else list(text)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
