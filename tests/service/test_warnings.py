"""Warnings and confidence of outputs: the same in answers, comparisons and streams."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slimseq.inference.text.warnings import WARNING_KINDS
from tests.inference.text.samples import ENGLISH, FOREIGN
from tests.service.client import Service

ROOT = Path(__file__).parents[2]

GERMAN = FOREIGN["de"][0]


def kinds(output: Mapping[str, Any]) -> list[str]:
    return [warning["kind"] for warning in output.get("warnings", [])]


def warning_counts(service: Service, task: str, variant: str) -> dict[str, float]:
    """The counts of the metric `slimseq_warnings_total` by kind."""
    found = re.findall(
        rf'slimseq_warnings_total{{kind="(\w+)",task="{task}",variant="{variant}"}} (\S+)', service.get("/metrics").text
    )
    return {kind: float(count) for kind, count in found}


@pytest.mark.parametrize("language", FOREIGN)
@pytest.mark.parametrize("path", ["/translate", "/summarize"])
def test_a_text_in_another_language_is_answered_with_a_warning(service: Service, path: str, language: str) -> None:
    answer = service.post(path, {"text": FOREIGN[language][0]})

    assert answer.status == 200
    assert "language" in kinds(answer.json["outputs"][0])


def test_each_output_has_its_own_warnings_and_a_good_one_has_none(service: Service) -> None:
    outputs = service.post("/translate", {"text": ["The children are playing in the garden.", GERMAN]}).json["outputs"]

    assert "warnings" not in outputs[0]
    assert outputs[1]["warnings"][0] == {
        "kind": "language",
        "detail": "The text seems to be in German. The model reads English.",
    }


def test_a_stream_ends_with_the_warnings_of_the_plain_answer(service: Service) -> None:
    body = {"text": [GERMAN, ENGLISH[0]], "max_new_tokens": 4}

    name, last = service.post("/translate", {**body, "stream": True}).events[-1]

    assert name == "done"
    assert kinds(last["outputs"][0]) == ["language", "truncated", "unfinished"]
    assert kinds(last["outputs"][1]) == ["truncated", "unfinished"]
    plain = service.post("/translate", body).json
    assert [each["warnings"] for each in last["outputs"]] == [each["warnings"] for each in plain["outputs"]]


ARTICLE = (
    "The company said its net profit rose 22.57 percent to 1.61 billion euros in the first quarter of the year. "
    "Sales of the group rose 4.38 percent, and the shares rose on the stock exchange after the announcement. "
)


@pytest.mark.parametrize("long_input", ["truncate", "map_reduce"])
def test_a_summary_that_ends_in_mid_sentence_at_its_limit_says_so_in_answers_and_streams(
    service: Service, long_input: str
) -> None:
    text = ARTICLE if long_input == "truncate" else "\n\n".join([ARTICLE * 8] * 2)
    body = {"text": text, "max_new_tokens": 8, "num_beams": 1, "long_input": long_input}

    [output] = service.post("/summarize", body).json["outputs"]
    *pieces, (_, done) = service.post("/summarize", {**body, "stream": True}).events

    parts = output["text"].split("net profit")[1:]
    assert output["finish_reason"] == "length"
    assert len(parts) == (1 if long_input == "truncate" else 4)
    [detail] = [each["detail"] for each in output["warnings"] if each["kind"] == "unfinished"]
    assert detail.startswith("The output ends in mid-sentence: “")
    assert detail.count("net profit") == len(parts)
    assert done["outputs"] == [output]
    assert "".join(piece["text"] for _, piece in pieces) == output["text"]


def test_a_summary_that_ends_within_a_number_says_so(service: Service) -> None:
    body = {"text": ARTICLE, "num_beams": 1}
    answers = [service.post("/summarize?variant=compact", {**body, "max_new_tokens": most}) for most in range(4, 24)]

    outputs = [answer.json["outputs"][0] for answer in answers]
    cut = [output for output in outputs if output["text"].endswith((" 22.", " 1."))]
    assert len(cut) == 2
    assert all(kinds(output) == ["truncated", "unfinished", "number"] for output in cut)


def test_warnings_are_counted_by_variant_and_kind(service: Service) -> None:
    service.post("/translate?variant=original", {"text": "It is raining."})
    before = warning_counts(service, "translation", "original")

    service.post("/translate?variant=original", {"text": [GERMAN, "It is raining.", GERMAN]})

    after = warning_counts(service, "translation", "original")
    assert set(before) == set(WARNING_KINDS)
    assert after["language"] == before["language"] + 2
    assert after["truncated"] == before["truncated"]


@pytest.mark.parametrize("kind", WARNING_KINDS)
def test_each_kind_is_explained_wherever_warnings_are(service: Service, kind: str) -> None:
    schema = service.get("/openapi.json").json["components"]["schemas"]["OutputWarning"]["properties"]["kind"]
    guide = (ROOT / "docs/guides/texts.md").read_text(encoding="utf-8")
    page = (ROOT / "app/slimseq/app/web/static/parts.js").read_text(encoding="utf-8")

    assert f"`{kind}`:" in schema["description"]
    assert f"\n| `{kind}` |" in guide
    assert f"\n  {kind}: " in page


SENTENCE = "The children are playing in the garden."
# Words that no text has, so that the model guesses.
NONSENSE = "Grumbling flarnets upbraid the quizzical zorp."


def confidences(answer: Any) -> list[float | None]:
    return [output.get("confidence") for output in answer["outputs"]]


@pytest.mark.parametrize("variant", ["original", "quantized"])
def test_a_sentence_that_the_model_knows_has_more_confidence_than_nonsense(service: Service, variant: str) -> None:
    known, nonsense = confidences(service.post(f"/translate?variant={variant}", {"text": [SENTENCE, NONSENSE]}).json)

    assert known is not None
    assert nonsense is not None
    assert 0 <= nonsense < known <= 1
    assert (known, nonsense) == (round(known, 2), round(nonsense, 2))


def test_a_summary_has_no_confidence(service: Service) -> None:
    [output] = service.post("/summarize?variant=original", {"text": SENTENCE}).json["outputs"]

    assert output["text"]
    assert "confidence" not in output


@pytest.mark.parametrize("cut", [{"max_new_tokens": 3}, {"stop": ["spielen"]}])
def test_an_output_that_was_cut_has_no_confidence(service: Service, cut: dict[str, Any]) -> None:
    [output] = service.post("/translate?variant=original", {"text": SENTENCE, **cut}).json["outputs"]

    assert output["finish_reason"] != "eos"
    assert "confidence" not in output


def test_a_stream_ends_with_the_confidence_and_a_comparison_has_it(service: Service) -> None:
    plain = confidences(service.post("/translate?variant=quantized", {"text": SENTENCE}).json)

    *_, (name, done) = service.post("/translate?variant=quantized", {"text": SENTENCE, "stream": True}).events
    compared = service.post("/compare?task=translation&variant=quantized&variant=original", {"text": SENTENCE}).json

    assert name == "done"
    assert confidences(done) == plain
    assert confidences(compared["results"][0]) == plain
