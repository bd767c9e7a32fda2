"""Outputs that loop are generated once more: the same in answers, streams, comparisons and other dialects."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from slimseq.client import Client
from tests.service.client import Service

PATH = "/translate?variant=quantized"
# The embedded models repeat themselves in translations of most of these, and in none of the sentence's.
SENTENCE = "The children are playing in the garden."
LOOPS = [
    "Dark blue, light blue, dark green, light green, dark red, light red, dark brown, light brown.",
    "Left arm, right arm, left leg, right leg, left hand, right hand, left foot, right foot.",
    "No, no, no, no, no, you must not go there, no, no, no.",
    "Row, row, row your boat, row, row, row your boat.",
    "ok ok ok ok fail ok ok ok ok fail ok ok ok ok",
]


def kinds(output: dict[str, Any]) -> list[str]:
    return [warning["kind"] for warning in output.get("warnings", [])]


def answer(service: Service, text: str | list[str], **options: Any) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = service.post(PATH, {"text": text, **options}).json["outputs"]
    return outputs


def repairs(service: Service) -> float:
    series = r'slimseq_repairs_total\{kind="repetition",task="translation",variant="quantized"\} (\S+)'
    return float(re.findall(series, service.get("/metrics").text)[0])


@pytest.fixture(scope="module")
def plain(service: Service) -> list[dict[str, Any]]:
    """The outputs as the model first writes them."""
    outputs = answer(service, [SENTENCE, *LOOPS], repair=False)
    assert not any("repaired" in output for output in outputs)
    assert sum("repetition" in kinds(output) for output in outputs) >= 2
    return outputs


def test_an_answer_says_what_was_repaired_and_is_counted(service: Service, plain: list[dict[str, Any]]) -> None:
    before = repairs(service)

    outputs = answer(service, [SENTENCE, *LOOPS])

    repaired = [index for index, output in enumerate(outputs) if "repaired" in output]
    assert repaired and all("repetition" in kinds(plain[index]) for index in repaired)
    assert all(outputs[index]["repaired"] == ["repetition"] for index in repaired)
    assert not any("repetition" in kinds(outputs[index]) for index in repaired)
    assert all(outputs[index] == plain[index] for index in range(len(plain)) if index not in repaired)
    assert repairs(service) == before + len(repaired)


def test_company_does_not_change_a_repaired_answer(service: Service) -> None:
    together = answer(service, [SENTENCE, *LOOPS])

    with ThreadPoolExecutor(6) as threads:
        alone = list(threads.map(lambda text: answer(service, text)[0], [SENTENCE, *LOOPS] * 2))

    assert alone == together * 2


def test_a_stream_ends_with_the_repaired_answer_after_the_pieces_of_the_first(
    service: Service, plain: list[dict[str, Any]]
) -> None:
    *pieces, (name, done) = service.post(PATH, {"text": LOOPS, "stream": True}).events

    assert name == "done" and done["outputs"] == answer(service, LOOPS)
    written = ["".join(piece["text"] for _, piece in pieces if piece["index"] == index) for index in range(len(LOOPS))]
    assert written == [output["text"] for output in plain[1:]]


def test_comparisons_other_dialects_and_the_client_have_it_too(service: Service, plain: list[dict[str, Any]]) -> None:
    outputs = answer(service, LOOPS)
    texts = [output["text"] for output in outputs]

    compared = service.post("/compare?task=translation&variant=quantized&variant=original", {"text": LOOPS}).json
    libre = service.post("/libretranslate/translate?variant=quantized", {"q": LOOPS, "source": "en", "target": "de"})
    hugging = service.post("/huggingface/translate?variant=quantized", {"inputs": LOOPS})
    with Client(f"http://127.0.0.1:{service.port}") as client:
        ours = client.translate(LOOPS, variant="quantized")
        without = client.translate(LOOPS, variant="quantized", repair=False)

    assert compared["results"][0]["outputs"] == outputs
    assert libre.json["translatedText"] == [each["translation_text"] for each in hugging.json] == texts == ours.texts
    assert [each.repaired for each in ours.outputs] == [each.get("repaired") for each in outputs]
    assert without.texts == [output["text"] for output in plain[1:]]
