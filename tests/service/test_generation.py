"""`POST /translate` and `POST /summarize`: outputs, options, alternatives, long texts, seeds, choice of a variant."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from slimseq.evaluation.datasets import BUNDLED, load_examples
from slimseq.models_store.manifest import Task
from tests.service.client import Service, texts

SENTENCE = "The children are playing in the garden."
ARTICLE = (
    "A fire broke out in a warehouse in the city of Leeds on Monday. Firefighters from three stations fought the "
    "flames for six hours. Nobody was hurt, police said, and the cause is being investigated."
)


@pytest.mark.parametrize("variant", ["original", "quantized"])
@pytest.mark.parametrize(
    ("path", "task", "text"), [("/translate", "translation", SENTENCE), ("/summarize", "summarization", ARTICLE)]
)
def test_each_variant_answers(service: Service, path: str, task: str, text: str, variant: str) -> None:
    answer = service.post(f"{path}?variant={variant}", {"text": text})

    assert answer.status == 200, answer.text
    assert (answer.json["task"], answer.json["variant"]) == (task, variant)
    assert answer.json["runtime"] == service.get(f"/variants/{task}/{variant}").json["runtime"]
    assert answer.json["digest"] == service.get(f"/variants/{task}/{variant}").json["digest"]
    (output,) = answer.json["outputs"]
    assert output["text"]
    assert output["finish_reason"] == "eos"
    assert not output["truncated"]
    assert output["input_tokens"] > 5
    assert output["output_tokens"] > 5
    timings = answer.json["timings"]
    assert 0 < timings["inference_ms"] <= timings["queue_ms"] + timings["inference_ms"] <= timings["total_ms"]


def test_a_translation_keeps_paragraphs_and_blank_lines(service: Service) -> None:
    text = "Good morning. How are you?\n\n  The sun is shining.\r\nA dog is barking.\n"

    output = service.post("/translate?variant=original", {"text": text}).json["outputs"][0]["text"]

    lines = output.split("\n")
    assert len(lines) == 5
    assert lines[1] == ""
    assert lines[4] == ""
    assert lines[2].startswith("  ")
    assert lines[2].endswith("\r")
    assert all(lines[n].strip() for n in (0, 2, 3))


def test_typographic_apostrophes_quotes_and_spaces_are_translated_as_plain_ones(service: Service) -> None:
    plain = ["I'm sorry, but I can't help you.", "We can't come because we haven't got time.", '"Let\'s go," she said.']
    typographic = [
        "I\u2019m sorry, but I can\u2019t help you.",
        "We can\u2019t come because we haven\u2019t got\u00a0time.",
        "\u201cLet\u2019s go,\u201d she said.",
    ]

    expected = texts(service.post("/translate", {"text": plain}))
    outputs = texts(service.post("/translate", {"text": typographic}))

    assert outputs == expected
    assert all(re.search(r"\b(nicht|kein\w*)\b", text) for text in outputs[:2])


def test_options_reach_the_model(service: Service) -> None:
    cut = service.post("/translate", {"text": SENTENCE, "max_new_tokens": 3}).json["outputs"][0]
    prefixed = service.post("/summarize", {"text": ARTICLE, "prefix": "", "max_new_tokens": 4}).json["outputs"][0]

    assert cut["finish_reason"] == "length"
    assert cut["output_tokens"] <= 3
    assert prefixed["input_tokens"] < service.post("/summarize", {"text": ARTICLE}).json["outputs"][0]["input_tokens"]


def test_alternatives_are_the_next_best_outputs_up_to_the_beams(service: Service) -> None:
    body = {"text": f"{SENTENCE} Write to anna@example.org today.", "num_beams": 4}

    plain = service.post("/translate?variant=quantized", body)
    several = service.post("/translate?variant=quantized", body | {"num_return_sequences": 3})
    refused = service.post("/translate?variant=quantized", body | {"num_return_sequences": 5})

    [best] = plain.json["outputs"]
    [output] = several.json["outputs"]
    found = [output["text"], *(each["text"] for each in output["alternatives"])]
    assert found[0] == best["text"]
    assert "alternatives" not in best
    assert "score" not in best
    assert len(set(found)) == 3
    assert all("anna@example.org" in text for text in found)
    assert all(each["score"] < 0 for each in (output, *output["alternatives"]))
    assert refused.status == 422
    assert "num_return_sequences (5) is above num_beams (4)" in refused.json["detail"]


def test_several_outputs_of_each_text_share_the_limit_of_characters(service: Service) -> None:
    long = {"text": SENTENCE + "\x1f" * 250_000, "num_beams": 4}
    for path, count in (("/translate", 4), ("/compare?task=translation&variant=original&variant=quantized", 2)):
        answer = service.post(path, long | {"num_return_sequences": count})
        assert "at most 250000 are allowed with 4 outputs of each text" in answer.problem.detail


def test_a_text_longer_than_the_model_reads_is_truncated_and_marked(service: Service) -> None:
    answer = service.post("/summarize", {"text": ARTICLE * 30, "max_new_tokens": 8})

    limit = service.get("/variants/summarization/quantized").json["manifest"]["generation"]["max_input_tokens"]
    (output,) = answer.json["outputs"]
    assert output["truncated"] is True
    assert output["input_tokens"] == limit
    assert "truncated" in [warning["kind"] for warning in output["warnings"]]


def test_min_retention_finds_a_variant_that_keeps_enough(service: Service) -> None:
    found = service.post("/translate?min_retention=0.5", {"text": SENTENCE})
    missed = service.post("/translate?min_retention=1.99", {"text": SENTENCE})

    kept = {
        each["variant"]: each["retention"] and each["retention"]["value"]
        for each in service.get("/quality").json["qualities"]
        if each["task"] == "translation"
    }
    assert found.status == 200
    assert (kept[found.json["variant"]] or 0) >= 0.5
    assert missed.status == 404
    assert "original with retention 1.0000" in missed.problem.detail


def test_a_document_that_is_summarized_in_parts_has_the_summary_of_each_part_also_as_a_stream(
    service: Service,
) -> None:
    articles = [" ".join(each.source.split()) for each in load_examples(Task.SUMMARIZATION, BUNDLED).examples[:4]]
    body = {"text": "\n\n".join(articles), "num_beams": 1, "max_new_tokens": 40}

    cut = service.post("/summarize", body).json["outputs"][0]
    whole = service.post("/summarize", {**body, "long_input": "map_reduce"}).json["outputs"][0]
    streamed = service.post("/summarize", {**body, "long_input": "map_reduce", "stream": True})
    alone = service.post("/summarize", {**body, "text": articles}).json["outputs"]

    assert cut["truncated"]
    assert not whole["truncated"]
    assert whole["text"] == "\n\n".join(output["text"] for output in alone)
    assert whole["input_tokens"] == sum(output["input_tokens"] for output in alone) > 2 * cut["input_tokens"]
    assert streamed.events[-1][1]["outputs"][0] == whole
    assert "".join(piece["text"] for name, piece in streamed.events if name == "token") == whole["text"]


@pytest.mark.parametrize("variant", ["original", "quantized", "compact"])
def test_samples_with_a_seed_are_the_same_whatever_else_is_served(service: Service, variant: str) -> None:
    body = {
        "text": ["The children are playing in the garden.", "It is raining."],
        "do_sample": True,
        "temperature": 3.0,
    }

    def sample(**seed: int) -> list[str]:
        return texts(service.post(f"/translate?variant={variant}", {**body, **seed}))

    with ThreadPoolExecutor(4) as threads:
        first, other, second, third = threads.map(lambda seed: sample(seed=seed), [7, 8, 7, 7])
    without_seed = {sample()[0] for _ in range(6)}
    refused = service.post("/translate", {**body, "num_beams": 4})

    assert first == second == third
    assert first != other
    assert len(without_seed) > 1
    assert refused.status == 422
    assert "single beam" in refused.problem.detail
