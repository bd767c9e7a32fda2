"""Answers of calibrated variants say how sure the model is: the same alone and among others, streamed and compared."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.service.client import Service

SENTENCE = "The children are playing in the garden."
# Words that no text has, so that the model guesses.
NONSENSE = "Grumbling flarnets upbraid the quizzical zorp."


def confidences(answer: Any) -> list[float | None]:
    return [output.get("confidence") for output in answer["outputs"]]


@pytest.mark.parametrize("variant", ["original", "quantized"])
def test_a_sentence_that_the_model_knows_has_more_than_nonsense(service: Service, variant: str) -> None:
    known, nonsense = confidences(service.post(f"/translate?variant={variant}", {"text": [SENTENCE, NONSENSE]}).json)

    assert known is not None and nonsense is not None
    assert 0 <= nonsense < known <= 1
    assert (known, nonsense) == (round(known, 2), round(nonsense, 2))


def test_a_summary_has_none(service: Service) -> None:
    [output] = service.post("/summarize?variant=original", {"text": SENTENCE}).json["outputs"]

    assert output["text"] and "confidence" not in output


@pytest.mark.parametrize("cut", [{"max_new_tokens": 3}, {"stop": ["spielen"]}])
def test_an_output_that_was_cut_has_none(service: Service, cut: dict[str, Any]) -> None:
    [output] = service.post("/translate?variant=original", {"text": SENTENCE, **cut}).json["outputs"]

    assert output["finish_reason"] != "eos" and "confidence" not in output


def test_a_text_of_several_sentences_lies_between_them(service: Service) -> None:
    texts = [SENTENCE, NONSENSE, f"{SENTENCE} {NONSENSE}"]

    known, nonsense, both = confidences(service.post("/translate?variant=quantized", {"text": texts}).json)

    assert known is not None and nonsense is not None and both is not None
    assert nonsense < both < known


@pytest.mark.parametrize("variant", ["original", "quantized"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 1}, {"do_sample": True, "seed": 3}])
def test_company_does_not_change_it(service: Service, variant: str, options: dict[str, Any]) -> None:
    path, texts = f"/translate?variant={variant}", [SENTENCE, NONSENSE, "It is raining.", f"{SENTENCE} {SENTENCE}"]
    bodies: list[dict[str, Any]] = [{"text": texts, **options}, *({"text": text, **options} for text in texts)]
    alone = [confidences(service.post(path, body).json) for body in bodies]

    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda body: confidences(service.post(path, body).json), bodies * 6))

    assert together == alone * 6
    assert alone[0] == [found for each in alone[1:] for found in each] and None not in alone[0]


def test_a_stream_ends_with_it_and_a_comparison_has_it(service: Service) -> None:
    plain = confidences(service.post("/translate?variant=quantized", {"text": SENTENCE}).json)

    *_, (name, done) = service.post("/translate?variant=quantized", {"text": SENTENCE, "stream": True}).events
    compared = service.post("/compare?task=translation&variant=quantized&variant=original", {"text": SENTENCE}).json

    assert name == "done" and confidences(done) == plain
    assert confidences(compared["results"][0]) == plain
