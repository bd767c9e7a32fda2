"""Hugging Face's Inference API: `inputs` and `parameters` on `/translate` and `/summarize`.

`huggingface_hub.InferenceClient("http://…/translate").translation(…)` speaks it. Errors are our problems with one more
member, `error`, which its clients show.
"""

import re
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from slimseq.app.errors import InvalidRequest
from slimseq.app.http.dependencies import services_of
from slimseq.app.http.json_route import parse_json
from slimseq.app.http.problems import MEDIA_TYPE, headers_of, problem_of, problem_type
from slimseq.app.http.schemas.generation import SummarizeRequest, TextRequest, TranslateRequest
from slimseq.app.http.schemas.huggingface import GenerateParameters, SummarizationInput, TranslationInput
from slimseq.app.http.security import admission_of
from slimseq.app.http.validation import describe
from slimseq.app.serving.documents.prompt import Prompt
from slimseq.app.serving.selection.chooser import Choice
from slimseq.app.serving.terms import Terms
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.generation import GenerationOptions
from slimseq.models_store.manifest import Task

INPUTS = {Task.SUMMARIZATION: SummarizationInput, Task.TRANSLATION: TranslationInput}
REQUESTS: dict[Task, type[TextRequest]] = {Task.SUMMARIZATION: SummarizeRequest, Task.TRANSLATION: TranslateRequest}
OUTPUT_KEYS = {Task.SUMMARIZATION: "summary_text", Task.TRANSLATION: "translation_text"}
# mBART's language codes, such as en_XX.
MBART_CODE = re.compile(r"([a-z]{2})_[A-Z]{2}")


async def generate(task: Task, request: Request, choice: Choice, terms: Terms) -> Response:
    """Answers a request of a Hugging Face client."""
    try:
        prompt = Prompt.of(own_request(task, parse_json(await request.body())))
        services = await services_of(request)
        if prompt.source and prompt.target:
            source, target = services.languages.served_pair(prompt.source, prompt.target)
            prompt, choice = replace(prompt, source=source, target=target), choice.with_languages(source, target)
        await (await admission_of(request)).characters(prompt.characters)
        answer = await services.generation.generate(task, prompt, choice, terms)
    except SlimseqError as error:
        request.state.problem = problem_type(error).slug
        problem = problem_of(error)
        content = {**problem.model_dump(), "error": problem.detail}
        return JSONResponse(content, problem.status, headers_of(error), MEDIA_TYPE)
    return JSONResponse([{OUTPUT_KEYS[task]: output.text} for output in answer.outputs])


def own_request(task: Task, body: Any) -> TextRequest:
    """Returns the request of our own that a request of a Hugging Face client means.

    Raises:
        InvalidRequest: a field is wrong, a parameter is unknown, or an option is given twice.
    """
    try:
        given = INPUTS[task].model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(describe(error.errors())) from error
    values: dict[str, Any] = {"text": given.inputs}
    if given.parameters is not None:
        values |= _options(given.parameters)
        for name, value in _options(given.parameters.generate_parameters).items():
            if name in values:
                raise InvalidRequest(f"parameters.generate_parameters: gives {name}, as parameters does; give it once")
            values[name] = value
        if given.parameters.truncation == "do_not_truncate":
            values["on_overflow"] = "error"
    if isinstance(given, TranslationInput) and given.parameters is not None:
        values |= {"source": _code(given.parameters.src_lang), "target": _code(given.parameters.tgt_lang)}
    try:
        return REQUESTS[task].model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(f"parameters: {describe(error.errors())}") from error


def _options(given: GenerateParameters | None) -> dict[str, Any]:
    """Returns the generation options of parameters."""
    if given is None:
        return {}
    options: dict[str, Any] = given.model_dump(include=set(GenerationOptions.model_fields), exclude_none=True)
    for total, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        if (length := getattr(given, total)) is not None:
            if new in options:
                raise InvalidRequest(f"parameters: {total} and {new} exclude each other: give one")
            options[new] = length - 1
    return options


def _code(language: str | None) -> str | None:
    matched = MBART_CODE.fullmatch(language or "")
    return matched[1] if matched else language
