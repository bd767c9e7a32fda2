"""What each call of the client sends, and how its answer is read. It is the same for both clients."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

from httpx2 import Response, ServerSentEvent
from pydantic import ValidationError

from slimseq.client.answers import Answer, Comparison, Evaluation, Generation, Piece, Quality, Variant
from slimseq.client.errors import ClientError, EvaluationFailed, ServiceProblem, UnexpectedAnswer, Unreachable, error_of

T = TypeVar("T")
Task = Literal["summarization", "translation"]
Texts = str | Sequence[str]

PATHS: Mapping[Task, str] = {"summarization": "/summarize", "translation": "/translate"}
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
    # Of summaries.
    prefix: str
    long_input: Literal["truncate", "map_reduce"]
    # Of translations.
    source: str
    target: str


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and the function that reads the JSON of its answer.

    Args:
        method: GET, POST or DELETE.
        path: path below the service's URL.
        read: validates the JSON of the answer.
        query: query parameters.
        body: JSON to post.
        is_repeatable: whether the call may reach the service twice without harm.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
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


def generate(task: Task, text: Texts, choice: Mapping[str, Any], options: Options) -> Call[Generation]:
    """Returns the call of `/summarize` or `/translate`."""
    body = {"text": text if isinstance(text, str) else list(text), **options}
    return Call("POST", PATHS[task], Generation.model_validate_json, choice, body)


def stream(task: Task, text: Texts, choice: Mapping[str, Any], options: Options) -> Call[Generation]:
    """Returns the call of `/summarize` or `/translate` with `stream`."""
    call = generate(task, text, choice, options)
    return Call(call.method, call.path, call.read, call.query, {**(call.body or {}), "stream": True})


def compare(task: Task, variants: Sequence[str], text: Texts, options: Options) -> Call[Comparison]:
    """Returns the call of `/compare`."""
    body = {"text": text if isinstance(text, str) else list(text), **options}
    return Call("POST", "/compare", Comparison.model_validate_json, {"task": task, "variant": list(variants)}, body)


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


def choice(variant: str | None, min_retention: float | None, runtime: str | None) -> dict[str, Any]:
    """Returns the query parameters that select a variant and a runtime."""
    return _given({"variant": variant, "min_retention": min_retention, "runtime": runtime})


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
