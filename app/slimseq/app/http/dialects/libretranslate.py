"""LibreTranslate's API: `/translate` with `q`, as JSON, as a form or in the query, and `/detect`.

Its behaviour and the texts of its errors are those of https://github.com/LibreTranslate/LibreTranslate. Errors have the
form `{"error": …}`, and status 400 where ours is 422.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError

from slimseq.app.errors import InvalidRequest, UnclosedMarkup
from slimseq.app.http.dependencies import services_of
from slimseq.app.http.form import form_fields, is_form
from slimseq.app.http.json_route import parse_json
from slimseq.app.http.problems import headers_of, problem_of, problem_type
from slimseq.app.http.schemas.libretranslate import (
    DetectedLanguage,
    DetectRequest,
    LibreTranslateRequest,
    LibreTranslateResponse,
)
from slimseq.app.http.security import admission_of, admit_by_key
from slimseq.app.http.validation import describe
from slimseq.app.services import Services
from slimseq.app.serving.documents.formats.passages import has_words
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Terms
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task

Body = TypeVar("Body", bound=BaseModel)

# Paths on which its clients post forms.
FORM_PATHS = ("/translate", "/detect")
AUTO = "auto"
FIELDS = frozenset(LibreTranslateRequest.model_fields)


async def translate(task: Task, request: Request, choice: Choice, terms: Terms) -> Response:
    """Answers a translation request of a LibreTranslate client."""
    return await answered(request, lambda services: _translated(services, request, choice, terms))


async def detect(request: Request) -> Response:
    """Answers `POST /detect`."""
    return await answered(request, lambda services: _detected(services, request))


async def answered(request: Request, answer: Callable[[Services], Awaitable[Any]]) -> Response:
    """Returns the response to a request: the answer, or the error in LibreTranslate's form."""
    try:
        services = await services_of(request)
        return JSONResponse(await answer(services))
    except SlimseqError as error:
        status, slug, _ = problem_type(error)
        request.state.problem = slug
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            status = HTTPStatus.BAD_REQUEST
        return JSONResponse({"error": problem_of(error).detail}, status, headers_of(error))


async def _translated(services: Services, request: Request, choice: Choice, terms: Terms) -> Mapping[str, Any]:
    body = await _read(LibreTranslateRequest, request)
    is_list = isinstance(body.q, list)
    texts = body.q if isinstance(body.q, list) else [body.q]
    if not body.q:
        raise InvalidRequest("Invalid request: missing q parameter")
    services.generation.check_size(Prompt(texts))
    source = body.source
    detected = None
    if source == AUTO:
        detected = services.languages.detect_source("\n".join(texts), body.target)
        source = detected.language
    source, target = services.languages.served_pair(source, body.target)
    # A text without a letter is answered as it is.
    translated = [index for index, text in enumerate(texts) if body.format == "html" or has_words(text)]
    answers = list(texts)
    if translated:
        prompt = Prompt([texts[index] for index in translated], source=source, target=target, format=body.format)
        await (await admission_of(request)).characters(prompt.characters)
        choice = choice.with_languages(source, target)
        try:
            answer = await services.generation.generate(Task.TRANSLATION, prompt, choice, terms)
        except UnclosedMarkup as error:
            raise UnclosedMarkup(f"q{str(error).removeprefix('text')}") from error
        for index, output in zip(translated, answer.outputs, strict=True):
            answers[index] = output.text
    response = LibreTranslateResponse(translatedText=answers if is_list else answers[0])
    if detected is not None:
        found = DetectedLanguage(confidence=round(detected.confidence * 100, 1), language=detected.language)
        response.detectedLanguage = [found] * len(texts) if is_list else found
    if body.alternatives:
        none_for_each: list[list[str]] = [[] for _ in texts]
        response.alternatives = none_for_each if is_list else []
    return response.model_dump(exclude_none=True)


async def _detected(services: Services, request: Request) -> list[dict[str, Any]]:
    body = await _read(DetectRequest, request)
    found = services.languages.detect(body.q)
    return [DetectedLanguage(confidence=round(found.confidence * 100, 1), language=found.language).model_dump()]


async def _read(kind: type[Body], request: Request) -> Body:
    """Reads the fields of a request, from a form, from JSON, and from the query, and lets it in by the key among them.

    Raises:
        Unauthenticated, Forbidden, KeyLimitReached: the request may not be answered.
        InvalidRequest: a field is missing, wrong, or given twice. The text for a missing one is LibreTranslate's.
        MalformedBody: the body cannot be parsed.
    """
    values: Any = {}
    if is_form(request):
        values = await form_fields(request)
        if "q" in values:
            # Forms have the line ends of HTTP.
            values["q"] = values["q"].replace("\r\n", "\n")
    elif body := await request.body():
        values = parse_json(body)
    if not isinstance(values, dict):
        raise InvalidRequest("Invalid request: the body must be a JSON object")
    for name in kind.model_fields.keys() & request.query_params.keys():
        if name in values:
            raise InvalidRequest(f"Invalid request: {name}: is given in the query and in the body; give it once")
        values[name] = request.query_params[name]
    key = values.get("api_key")
    await admit_by_key(request, key if isinstance(key, str) else None)
    try:
        # As LibreTranslate does, take what is empty as not given.
        return kind.model_validate({name: value for name, value in values.items() if value not in ("", None)})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            raise InvalidRequest(f"Invalid request: missing {field} parameter") from error
        if field == "alternatives" and first["type"].startswith("int_"):
            raise InvalidRequest("Invalid request: alternatives parameter is not a number") from error
        if field == "format":
            raise InvalidRequest(f"{str(first['input'])[:64]} format is not supported") from error
        raise InvalidRequest(f"Invalid request: {describe(error.errors())}") from error
