"""Outputs that loop are generated once more: the same in answers, streams, comparisons and other dialects."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from slimseq.client import Client
from tests.service.client import Service

PATH = "/translate?variant=quantized"
# The quantized translator repeats itself in its first outputs of most of these texts, but not of the first one.
TEXTS = [
    "The children are playing in the garden.",
    "Dark blue, light blue, dark green, light green, dark red, light red, dark brown, light brown.",
    "Left arm, right arm, left leg, right leg, left hand, right hand, left foot, right foot.",
    "No, no, no, no, no, you must not go there, no, no, no.",
    "Row, row, row your boat, row, row, row your boat.",
]


def answer(service: Service, text: str | list[str], **options: Any) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = service.post(PATH, {"text": text, **options}).json["outputs"]
    return outputs


def repairs(service: Service) -> float:
    """The count of repaired outputs in `GET /metrics`."""
    series = r'slimseq_repairs_total\{kind="repetition",task="translation",variant="quantized"\} (\S+)'
    return float(re.findall(series, service.get("/metrics").text)[0])


@pytest.fixture(scope="module")
def plain(service: Service) -> list[dict[str, Any]]:
    """The outputs as the model first writes them."""
    return answer(service, TEXTS, repair=False)


def test_an_answer_says_what_was_repaired_and_is_counted(service: Service, plain: list[dict[str, Any]]) -> None:
    before = repairs(service)

    outputs = answer(service, TEXTS)

    repaired = [pair for pair in zip(plain, outputs, strict=True) if pair[0] != pair[1]]
    assert len(repaired) >= 2
    assert repairs(service) == before + len(repaired)
    for first, output in repaired:
        assert [each["kind"] for each in first["warnings"]] == output["repaired"] == ["repetition"]
        assert "warnings" not in output
        assert "repaired" not in first


def test_company_does_not_change_a_repaired_answer(service: Service) -> None:
    together = answer(service, TEXTS)

    with ThreadPoolExecutor(6) as threads:
        alone = list(threads.map(lambda text: answer(service, text)[0], TEXTS * 2))

    assert alone == together * 2


def test_a_stream_ends_with_the_repaired_answer_after_the_pieces_of_the_first(
    service: Service, plain: list[dict[str, Any]]
) -> None:
    *pieces, (name, done) = service.post(PATH, {"text": TEXTS, "stream": True}).events

    assert name == "done"
    assert done["outputs"] == answer(service, TEXTS)
    written = ["".join(piece["text"] for _, piece in pieces if piece["index"] == index) for index in range(len(TEXTS))]
    assert written == [output["text"] for output in plain]


def test_comparisons_other_dialects_and_the_client_have_it_too(service: Service, plain: list[dict[str, Any]]) -> None:
    outputs = answer(service, TEXTS)

    compared = service.post("/compare?task=translation&variant=quantized&variant=original", {"text": TEXTS}).json
    libre = service.post("/libretranslate/translate?variant=quantized", {"q": TEXTS, "source": "en", "target": "de"})
    hugging = service.post("/huggingface/translate?variant=quantized", {"inputs": TEXTS})
    with Client(f"http://127.0.0.1:{service.port}") as client:
        ours = client.translate(TEXTS, variant="quantized")
        without = client.translate(TEXTS, variant="quantized", repair=False)

    assert compared["results"][0]["outputs"] == outputs
    assert libre.json["translatedText"] == [each["translation_text"] for each in hugging.json] == ours.texts
    assert [(each.text, each.repaired) for each in ours.outputs] == [(o["text"], o.get("repaired")) for o in outputs]
    assert without.texts == [output["text"] for output in plain]
