"""The Hugging Face dialect: `InferenceClient` works on `/huggingface`."""

from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.service.client import Service, texts
from tests.service.test_generation import ARTICLE

SENTENCE = "The dog is barking."


def client(service: Service, path: str) -> InferenceClient:
    return InferenceClient(f"http://127.0.0.1:{service.port}/huggingface{path}", token="unused")


def ours(service: Service, path: str, text: str, **options: Any) -> str:
    """What `POST /translate` or `POST /summarize` answers."""
    return texts(service.post(path, {"text": text, **options}))[0]


@pytest.mark.parametrize("query", ["", "?variant=original"])
def test_it_translates_with_the_variant_of_the_url(service: Service, query: str) -> None:
    answer = client(service, f"/translate{query}").translation(SENTENCE)

    assert answer.translation_text == ours(service, f"/translate{query}", SENTENCE)


def test_it_summarizes(service: Service) -> None:
    answer = client(service, "/summarize").summarization(ARTICLE)

    assert answer.summary_text == ours(service, "/summarize", ARTICLE)


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ({"num_beams": 1, "max_new_tokens": 3}, {"num_beams": 1, "max_new_tokens": 3}),
        ({"max_length": 4}, {"max_new_tokens": 3}),
        ({"do_sample": True, "num_beams": 1, "seed": 7}, {"do_sample": True, "num_beams": 1, "seed": 7}),
    ],
)
def test_its_parameters_are_generation_options(service: Service, given: dict[str, Any], means: dict[str, Any]) -> None:
    translated = client(service, "/translate").translation(SENTENCE, generate_parameters=given)
    posted = service.post("/huggingface/translate", {"inputs": [SENTENCE, "It is raining."], "parameters": given}).json

    assert translated.translation_text == ours(service, "/translate", SENTENCE, **means)
    assert posted[0] == {"translation_text": translated.translation_text}
    assert len(posted) == 2


def test_the_alternatives_of_several_texts_are_lists(service: Service) -> None:
    body = {"inputs": [SENTENCE] * 2, "parameters": {"num_beams": 4, "num_return_sequences": 2}}

    assert [len(each) for each in service.post("/huggingface/translate", body).json] == [2, 2]


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("en_XX", "de_DE"), ("en-GB", "DE")])
def test_the_languages_may_be_named(service: Service, source: str, target: str) -> None:
    answer = client(service, "/translate").translation(SENTENCE, src_lang=source, tgt_lang=target)

    assert answer.translation_text == ours(service, "/translate", SENTENCE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"src_lang": "fr", "tgt_lang": "de"}, "fr is not supported"),
        ({"generate_parameters": {"beams": 4}}, "parameters.generate_parameters.beams: is not a field here"),
        ({"generate_parameters": {"num_beams": 99}}, "num_beams: should be less than or equal to 16"),
        ({"generate_parameters": {"max_length": 9, "max_new_tokens": 8}}, "exclude each other"),
        ({"clean_up_tokenization_spaces": True}, "clean_up_tokenization_spaces: should be False"),
    ],
)
def test_what_it_cannot_have_is_said_in_its_error(service: Service, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(HfHubHTTPError) as refused:
        client(service, "/translate").translation(SENTENCE, **arguments)

    assert refused.value.response.status_code == 422
    assert said in str(refused.value)


def test_a_text_that_is_too_long_and_an_unknown_variant_are_said_in_its_errors(service: Service) -> None:
    with pytest.raises(HfHubHTTPError) as long:
        client(service, "/summarize").summarization(ARTICLE * 30, truncation="do_not_truncate")
    with pytest.raises(HfHubHTTPError) as unknown:
        client(service, "/translate?variant=nope").translation(SENTENCE)

    assert long.value.response.status_code == 422
    assert "tokens" in str(long.value)
    assert unknown.value.response.status_code == 404
    assert "original" in str(unknown.value)


def test_errors_are_problems_that_its_client_can_read(service: Service) -> None:
    refused = service.post("/huggingface/summarize", {"inputs": ARTICLE, "parameters": {"src_lang": "en"}})
    twice = {"top_k": 5, "generate_parameters": {"top_k": 5}}
    doubled = service.post("/huggingface/translate", {"inputs": SENTENCE, "parameters": twice})

    assert doubled.status == 422
    assert "gives top_k, as parameters does" in doubled.problem.detail
    assert refused.status == 422
    assert "parameters.src_lang: is not a field here; " in refused.problem.detail
    assert refused.problem.error == refused.problem.detail
