"""LibreTranslate's API (https://docs.libretranslate.com/api), below `/libretranslate`.

Its behaviour and the texts of its errors are those of https://github.com/LibreTranslate/LibreTranslate. Fields come as
JSON, as a form or in the query. Errors have the form `{"error": …}`, and status 400 where ours is 422.
"""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from slimseq.app.dialects.mounting import ServicesDep
from slimseq.app.errors import InvalidRequest, MalformedBody, PayloadTooLarge, UnsupportedMediaType
from slimseq.app.generate.call import Call
from slimseq.app.generate.routes import choice_from, terms_from
from slimseq.app.generate.schemas import JSON_KINDS, Language, check_unicode
from slimseq.app.http.body import FORM, MULTIPART, media_type_of, parse_json
from slimseq.app.http.dependencies import admit_by_key
from slimseq.app.http.problems import describe, headers_of, problem_of
from slimseq.inference.text.errors import UnclosedMarkup
from slimseq.inference.text.formats.passages import has_words
from slimseq.inference.text.language import language_name
from slimseq.inference.text.rows import Prompt
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import MAX_BEAMS
from slimseq.models_store.manifest import Task

PATH = "/libretranslate"
# Paths that take forms, and a key in the body.
FORM_PATHS = ("/translate", "/detect")
AUTO = "auto"
MAX_FIELDS = 100
# Maximum size of a URL-encoded form. Decoding takes up to 1 s a megabyte, on a thread. Multipart forms and JSON may be
# larger.
MAX_FORM_BYTES = 1024 * 1024
# Milliseconds that a page waits while a person types. LibreTranslate's own default.
TYPING_MS = 500
# Minimum number of beams of a request with alternatives. LibreTranslate's own default.
MIN_BEAMS = 4

Body = TypeVar("Body", bound=BaseModel)


def check_q(value: Any) -> Any:
    """Checks that a value is a string or a list of strings. Unlike in our own field `text`, strings may be blank."""
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            kind = JSON_KINDS.get(type(text), "something else")
            raise PydanticCustomError(
                "slimseq_text", "must be a string or a list of strings, not {kind}", {"kind": kind}
            )
        if not text.isascii():
            check_unicode(text, "")
    return value


def check_number(value: Any) -> Any:
    """Refuses a boolean, which Python counts among the numbers. Forms have numbers as strings."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "must be a number")
    return value


class TranslateFields(BaseModel):
    model_config = ConfigDict(extra="forbid")

    q: Annotated[str | list[str], BeforeValidator(check_q)]
    source: Language
    target: Language
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, BeforeValidator(check_number)] = Field(default=0, ge=0, le=MAX_BEAMS - 1)
    api_key: str | None = None
    # Accepted and ignored.
    secret: str | None = None


class DetectFields(BaseModel):
    model_config = ConfigDict(extra="forbid")

    q: str = Field(min_length=1)
    api_key: str | None = None
    secret: str | None = None


router = APIRouter()


@router.post("/translate")
async def translate(request: Request, services: ServicesDep) -> JSONResponse:
    # The deadline begins before the body is parsed.
    terms = terms_from(request)
    body = await _read(TranslateFields, request)
    # Query parameters that are no fields of the body select the variant, as in our own API.
    query = {name: value for name, value in request.query_params.items() if name not in TranslateFields.model_fields}
    choice = choice_from(query)
    if not body.q:
        raise InvalidRequest("Invalid request: missing q parameter")
    is_list = isinstance(body.q, list)
    texts = body.q if isinstance(body.q, list) else [body.q]
    services.generation.check_size(Prompt(texts))

    answer: dict[str, Any] = {}
    source = body.source
    if source == AUTO:
        detected = services.languages.detect_source("\n".join(texts), body.target)
        source = detected.language
        language = {"confidence": round(detected.confidence * 100, 1), "language": source}
        answer["detectedLanguage"] = [language] * len(texts) if is_list else language
    source, target = services.languages.served_pair(source, body.target)

    # A text without a letter needs no translation.
    translated = [index for index, text in enumerate(texts) if body.format == "html" or has_words(text)]
    translations = list(texts)
    alternatives = [list[str]() for _ in texts]
    if translated:
        options = {}
        if body.alternatives:
            outputs = body.alternatives + 1
            options = {"num_return_sequences": outputs, "num_beams": max(outputs, MIN_BEAMS)}
        translated_texts = [texts[index] for index in translated]
        prompt = Prompt(translated_texts, options, source=source, target=target, format=body.format)
        call = Call(Task.TRANSLATION, prompt, choice, terms, request.state.admission)
        try:
            generated = await services.generation.generate(call)
        except UnclosedMarkup as error:
            # The error begins with the name of the field, which is `text` in other APIs.
            raise UnclosedMarkup(f"q{str(error).removeprefix('text')}") from error
        for index, output in zip(translated, generated.outputs, strict=True):
            translations[index] = output.text
            alternatives[index] = [each.text for each in output.alternatives or ()]

    answer["translatedText"] = translations if is_list else translations[0]
    if body.alternatives:
        answer["alternatives"] = alternatives if is_list else alternatives[0]
    return JSONResponse(answer)


@router.post("/detect")
async def detect(request: Request, services: ServicesDep) -> JSONResponse:
    body = await _read(DetectFields, request)
    await request.state.admission.characters(len(body.q))
    found = services.languages.detect(body.q)
    return JSONResponse([{"confidence": round(found.confidence * 100, 1), "language": found.language}])


@router.get("/languages")
async def languages(services: ServicesDep) -> list[dict[str, Any]]:
    targets: dict[str, list[str]] = {}
    for source, target in services.languages.pairs():
        targets.setdefault(source, []).append(target)
        targets.setdefault(target, [])
    for source, reached in services.languages.chained().items():
        targets[source] += reached
    return [{"code": code, "name": language_name(code), "targets": sorted(found)} for code, found in targets.items()]


@router.get("/frontend/settings")
async def frontend_settings(services: ServicesDep) -> dict[str, Any]:
    source, target = services.languages.default_pair() or (AUTO, "en")
    return {
        "charLimit": services.generation.max_text_characters,
        "frontendTimeout": TYPING_MS,
        "apiKeys": services.keys.has_keys,
        "keyRequired": services.keys.has_keys,
        "suggestions": False,
        "filesTranslation": False,
        "supportedFilesFormat": [],
        "language": {
            "source": {"code": source, "name": language_name(source)},
            "target": {"code": target, "name": language_name(target)},
        },
    }


@router.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


def error_response(request: Request, error: SlimseqError) -> JSONResponse:
    problem = problem_of(error)
    status = HTTPStatus.BAD_REQUEST if problem.status == HTTPStatus.UNPROCESSABLE_ENTITY else problem.status
    return JSONResponse({"error": problem.detail}, status, headers_of(error))


async def _read(kind: type[Body], request: Request) -> Body:
    """Reads the fields of a request from its query and body, and admits it by the key among them."""
    media_type = media_type_of(request.headers.get("content-type", ""))
    values: Any = {}
    if media_type == FORM:
        values = _by_name(await _urlencoded(await request.body()))
    elif media_type == MULTIPART:
        values = _by_name(await _multipart(request))
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
    # As in LibreTranslate, an empty field counts as one that is left out.
    given = {name: value for name, value in values.items() if value not in ("", None)}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise InvalidRequest(_reason(error)) from error


def _reason(error: ValidationError) -> str:
    """Returns what is wrong with the fields of a request, in the words of LibreTranslate where it has some."""
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"Invalid request: missing {field} parameter"
    if field == "alternatives" and first["type"].startswith("int_"):
        return "Invalid request: alternatives parameter is not a number"
    if field == "format":
        return f"{str(first['input'])[:64]} format is not supported"
    return f"Invalid request: {describe(error.errors())}"


async def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    if len(body) > MAX_FORM_BYTES:
        raise PayloadTooLarge(MAX_FORM_BYTES)
    if body.lstrip().startswith(b"{"):
        # `curl -d` declares a form if nothing else is said.
        raise UnsupportedMediaType("the body is JSON: send the header `content-type: application/json`")
    try:
        return await asyncio.to_thread(parse_qsl, body.decode(), True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError as error:
        raise MalformedBody(f"the form is not UTF-8: {error.reason} at byte {error.start} of a field") from error
    except ValueError:
        raise InvalidRequest(f"the form has more than {MAX_FIELDS} fields") from None


async def _multipart(request: Request) -> list[tuple[str, str]]:
    try:
        # The body is within the limit of all bodies.
        form = await request.form(max_files=0, max_fields=MAX_FIELDS, max_part_size=2**30)
    except HTTPException as error:
        raise MalformedBody(f"the body is not a form that can be read: {error.detail}") from error
    return [(name, str(value)) for name, value in form.multi_items()]


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Returns the fields of a form by name. A form has the line ends of HTTP, which become line feeds."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise InvalidRequest(f"{name[:64]}: is given more than once; send several texts as a JSON list")
        fields[name] = value.replace("\r\n", "\n")
    return fields
