"""Hugging Face's Inference API, below `/huggingface`: `POST /translate` and `POST /summarize`.

`huggingface_hub.InferenceClient("http://…/huggingface/translate").translation(…)` uses it:
https://huggingface.co/docs/inference-providers/tasks/translation and `…/summarization`. Errors are our problems with
one more member, `error`, which its clients show.
"""

import re
from dataclasses import replace
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from slimseq.app.dialects.mounting import ServicesDep
from slimseq.app.errors import InvalidRequest
from slimseq.app.generate.call import Call
from slimseq.app.generate.routes import GENERATION_PARAMETERS, call_from
from slimseq.app.generate.schemas import (
    OPTIONAL_OPTIONS,
    GenerationRequest,
    GenerationResponse,
    SummarizeRequest,
    Texts,
    TranslateRequest,
)
from slimseq.app.http.body import JsonRoute
from slimseq.app.http.dependencies import KNOWN_QUERY_ONLY, requires
from slimseq.app.http.keys import Scope
from slimseq.app.http.problems import MEDIA_TYPE, describe, headers_of, problem_of
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task

PATH = "/huggingface"
REQUESTS: dict[Task, type[GenerationRequest]] = {
    Task.SUMMARIZATION: SummarizeRequest,
    Task.TRANSLATION: TranslateRequest,
}
OUTPUT_KEYS = {Task.SUMMARIZATION: "summary_text", Task.TRANSLATION: "translation_text"}
# mBART's language codes, such as en_XX.
MBART_CODE = re.compile(r"([a-z]{2})_[A-Z]{2}")

# The total length of an encoder-decoder's output counts the start token too, which `…_new_tokens` does not.
TotalLength = Annotated[int | None, Field(ge=2)]


class Strict(BaseModel):
    """The fields of all parameters. Types are strict: values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_length: TotalLength = None
    min_length: TotalLength = None


GenerateParameters = create_model("GenerateParameters", __base__=Strict, **OPTIONAL_OPTIONS)


class SummarizationParameters(GenerateParameters):
    """Generation options by transformers' names, here or in `generate_parameters`."""

    generate_parameters: GenerateParameters | None = None
    truncation: Literal["do_not_truncate", "longest_first", "only_first"] | None = None
    # Outputs are as the tokenizer decodes them.
    clean_up_tokenization_spaces: Literal[False] | None = None


class TranslationParameters(SummarizationParameters):
    src_lang: str | None = None
    tgt_lang: str | None = None


class SummarizationInput(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    inputs: Texts
    parameters: SummarizationParameters | None = None


class TranslationInput(SummarizationInput):
    parameters: TranslationParameters | None = None


router = APIRouter(route_class=JsonRoute, dependencies=[KNOWN_QUERY_ONLY, requires(Scope.GENERATE)])


@router.post("/summarize", openapi_extra=GENERATION_PARAMETERS)
async def summarize(body: SummarizationInput, request: Request, services: ServicesDep) -> JSONResponse:
    prompt = own_request(Task.SUMMARIZATION, body).prompt()
    call = call_from(request, Task.SUMMARIZATION, prompt)
    answer = await services.generation.generate(call)
    return _response(body, call, answer)


@router.post("/translate", openapi_extra=GENERATION_PARAMETERS)
async def translate(body: TranslationInput, request: Request, services: ServicesDep) -> JSONResponse:
    prompt = own_request(Task.TRANSLATION, body).prompt()
    if prompt.source and prompt.target:
        source, target = services.languages.served_pair(prompt.source, prompt.target)
        prompt = replace(prompt, source=source, target=target)
    call = call_from(request, Task.TRANSLATION, prompt)
    answer = await services.generation.generate(call)
    return _response(body, call, answer)


def _response(body: SummarizationInput, call: Call, answer: GenerationResponse) -> JSONResponse:
    key = OUTPUT_KEYS[call.task]
    outputs_by_text = []
    for output in answer.outputs:
        best_first = [output, *(output.alternatives or ())]
        outputs_by_text.append([{key: each.text} for each in best_first])
    # As in transformers' pipelines: with several texts and several outputs of each, each text has a list.
    outputs_of_each = call.prompt.options.get("num_return_sequences") or 1
    if isinstance(body.inputs, list) and outputs_of_each > 1:
        return JSONResponse(outputs_by_text)
    return JSONResponse(list(chain.from_iterable(outputs_by_text)))


def own_request(task: Task, body: SummarizationInput) -> GenerationRequest:
    """Returns the request of our own API that means the same."""
    values: dict[str, Any] = {"text": body.inputs}
    parameters = body.parameters
    if parameters is not None:
        values |= _options(parameters)
        for name, value in _options(parameters.generate_parameters).items():
            if name in values:
                raise InvalidRequest(f"parameters.generate_parameters: gives {name}, as parameters does; give it once")
            values[name] = value
        if parameters.truncation == "do_not_truncate":
            values["on_overflow"] = "error"
        if isinstance(parameters, TranslationParameters):
            values |= {"source": _code(parameters.src_lang), "target": _code(parameters.tgt_lang)}
    try:
        return REQUESTS[task].model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(f"parameters: {describe(error.errors())}") from error


def _options(given: Strict | None) -> dict[str, Any]:
    """Returns generation options by our names. Total lengths become numbers of new tokens, without the start token."""
    if given is None:
        return {}
    options: dict[str, Any] = given.model_dump(include=set(GenerationOptions.model_fields), exclude_none=True)
    for total, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        length = getattr(given, total)
        if length is not None:
            if new in options:
                raise InvalidRequest(f"parameters: {total} and {new} exclude each other: give one")
            options[new] = length - 1
    return options


def _code(language: str | None) -> str | None:
    """Returns `en` for mBART's `en_XX`. Other codes stay."""
    matched = MBART_CODE.fullmatch(language or "")
    return matched[1] if matched else language


def error_response(request: Request, error: SlimseqError) -> JSONResponse:
    problem = problem_of(error)
    content = {**problem.model_dump(), "error": problem.detail}
    return JSONResponse(content, problem.status, headers_of(error), MEDIA_TYPE)
