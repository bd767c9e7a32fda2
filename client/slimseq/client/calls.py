"""The calls of the service: what each sends, and how its answer is read. Both clients have them as methods."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from httpx2 import AsyncClient, Client, Request, Response, ServerSentEvent
from pydantic import TypeAdapter

from slimseq.client.answers import (
    Comparison,
    Evaluation,
    Experiment,
    ExperimentSummary,
    Feedback,
    Generation,
    Piece,
    Quality,
    Variant,
)
from slimseq.client.errors import ServiceProblem, UnexpectedAnswer

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
    """A request, and the type of its answer.

    Args:
        key: the field of the answer's JSON that holds it. None: the whole JSON.
        is_repeatable: whether the call may reach the service twice without harm.
    """

    method: str
    path: str
    answer: type[T]
    key: str | None = None
    query: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None
    headers: Mapping[bytes, bytes] | None = None
    is_repeatable: bool = True

    def request(self, http: Client | AsyncClient, is_streamed: bool) -> Request:
        """Builds the request with the library's client, which knows the service's URL."""
        body = {**(self.body or {}), "stream": True} if is_streamed else self.body
        return http.build_request(self.method, self.path, params=self.query, json=body, headers=self.headers)

    def read(self, response: Response) -> T:
        """Reads the answer.

        Raises:
            UnexpectedAnswer: it has another form.
        """
        try:
            content: Any = json.loads(response.content) if response.content else None
            found: T = TypeAdapter(self.answer).validate_python(content if self.key is None else content[self.key])
        except (ValueError, LookupError, TypeError) as error:
            raise UnexpectedAnswer(response) from error
        return found


def generate(task: Task, text: Texts, **options: Unpack[ChosenOptions]) -> Call[Generation]:
    """Summarizes or translates a text, or several.

    In place of the task's default answers a `variant` by name, or the best one within `min_retention`,
    `max_latency_ms` and `max_bytes`, on a `runtime`. `deadline_ms` shortens the service's deadline, and
    `priority="low"` waits behind others. In an experiment, a `unit` keeps its arm.
    """
    query = {name: options.get(name) for name in Choice.__annotations__}
    others = {name: value for name, value in options.items() if name not in query}
    return _generation(PATHS[task], Generation, query, text, others)


def summarize(text: Texts, **options: Unpack[ChosenOptions]) -> Call[Generation]:
    """Summarizes a text, or several. See `generate`."""
    return generate("summarization", text, **options)


def translate(text: Texts, **options: Unpack[ChosenOptions]) -> Call[Generation]:
    """Translates a text, or several, sentence by sentence. See `generate`."""
    return generate("translation", text, **options)


def compare(
    task: Task, variants: Sequence[str], text: Texts, *, runtime: str | None = None, **options: Unpack[ComparedOptions]
) -> Call[Comparison]:
    """Generates from the same text with 2 to 8 variants, one after the other. `unit` is who votes on them."""
    query = {"task": task, "variant": list(variants), "runtime": runtime}
    return _generation("/compare", Comparison, query, text, options)


def variants() -> Call[list[Variant]]:
    """Returns all variants."""
    return Call("GET", "/variants", list[Variant], "variants")


def variant(task: Task, name: str) -> Call[Variant]:
    """Returns one variant, with its manifest as `manifest`."""
    return Call("GET", f"/variants/{task}/{quote(name, safe='')}", Variant)


def quality(task: Task | None = None, variant: str | None = None) -> Call[list[Quality]]:
    """Returns the measured quality of all variants, or of one task or name."""
    return Call("GET", "/quality", list[Quality], "qualities", _given({"task": task, "variant": variant}))


def start_evaluation(
    task: Task,
    variants: Sequence[str],
    *,
    dataset: str | None = None,
    samples: int | None = None,
    pairs: Sequence[Mapping[str, str]] | None = None,
    **more: Any,
) -> Call[Evaluation]:
    """Starts an evaluation of variants. `wait` waits for its results.

    They read the first `samples` of a `dataset`, such as `sample`, or `pairs` of `source` and `target`, or of
    `document` and `summary`. The service may know `more` fields of the request.
    """
    fields = _given({"dataset": dataset, "samples": samples, "pairs": pairs})
    body = {"task": task, "variants": list(variants), **fields, **more}
    return Call("POST", "/evaluations", Evaluation, body=body, is_repeatable=False)


def evaluation(identifier: str) -> Call[Evaluation]:
    """Returns an evaluation, with results once it succeeded."""
    return Call("GET", f"/evaluations/{quote(identifier, safe='')}", Evaluation)


def evaluations() -> Call[list[Evaluation]]:
    """Returns the newest evaluations, without results."""
    return Call("GET", "/evaluations", list[Evaluation], "evaluations")


def cancel_evaluation(identifier: str) -> Call[Evaluation]:
    """Cancels an evaluation that has not ended, and deletes one that has. Returns its last state."""
    # A second DELETE would delete what the first one cancelled.
    return Call("DELETE", f"/evaluations/{quote(identifier, safe='')}", Evaluation, is_repeatable=False)


def start_experiment(
    task: Task, name: str, arms: Mapping[str, float] | Sequence[str], *, margin: float | None = None, **more: Any
) -> Call[Experiment]:
    """Splits the traffic of a task between variants: that of requests that name none.

    `arms` are the weight of each variant, or their names for equal weights. Differences of mean ratings and of win
    rates up to the `margin` do not matter. The service may know `more` fields of the request.
    """
    weights = arms.items() if isinstance(arms, Mapping) else [(variant, 1.0) for variant in arms]
    posted = [{"variant": variant, "weight": weight} for variant, weight in weights]
    body = {"task": task, "name": name, "arms": posted, **_given({"margin": margin}), **more}
    return Call("POST", "/experiments", Experiment, body=body, is_repeatable=False)


def experiment(identifier: str) -> Call[Experiment]:
    """Returns an experiment and what it has shown so far, valid at any time at which one looks."""
    return Call("GET", f"/experiments/{quote(identifier, safe='')}", Experiment)


def experiments() -> Call[list[ExperimentSummary]]:
    """Returns the newest experiments, without what they have shown."""
    return Call("GET", "/experiments", list[ExperimentSummary], "experiments")


def stop_experiment(identifier: str) -> Call[Experiment]:
    """Stops an experiment, and returns what it has shown."""
    return Call("POST", f"/experiments/{quote(identifier, safe='')}/stop", Experiment)


def delete_experiment(identifier: str) -> Call[None]:
    """Deletes an experiment that has stopped, with its ratings and votes."""
    return Call("DELETE", f"/experiments/{quote(identifier, safe='')}", type(None))


def rate(response: str, rating: float, *, unit: str | None = None, **more: Any) -> Call[Feedback]:
    """Rates the response with an `id` from 0 (bad) to 1 (good). `unit` is who rates; None: the generation's."""
    return _feedback({"response": response, "rating": rating, **more}, unit)


def vote(comparison: str, preferred: str | None, *, unit: str | None = None, **more: Any) -> Call[Feedback]:
    """Says which variant of the comparison with an `id` has the better outputs. None: all are equally good.

    `unit` is who votes; None: the comparison's.
    """
    return _feedback({"comparison": comparison, "preferred": preferred, **more}, unit)


def read_event(event: ServerSentEvent) -> Piece | Generation:
    """Returns the piece or the answer that an event of a stream holds.

    Raises:
        ServiceProblem: the generation failed.
    """
    if event.event in ("token", "done"):
        kind = Piece if event.event == "token" else Generation
        return kind.model_validate_json(event.data)
    raise ServiceProblem(json.loads(event.data))


def _feedback(body: Mapping[str, Any], unit: str | None) -> Call[Feedback]:
    # The service refuses what was judged before.
    return Call("POST", "/feedback", Feedback, body=body, headers=_headers({"unit": unit}), is_repeatable=False)


def _generation(
    path: str, answer: type[T], query: Mapping[str, Any], text: Texts, options: Mapping[str, Any]
) -> Call[T]:
    own = {name: value for name, value in options.items() if name not in TERMS_HEADERS}
    body = {"text": text if isinstance(text, str) else list(text), **own}
    return Call("POST", path, answer, query=_given(query), body=body, headers=_headers(options))


def _headers(terms: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    """Returns the headers of terms. A header holds bytes: those of a unit in any script are UTF-8."""
    given = _given({name: terms.get(name) for name in TERMS_HEADERS})
    return {TERMS_HEADERS[name]: str(value).encode() for name, value in given.items()}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
