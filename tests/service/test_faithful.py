"""Numbers, addresses, code and tags of a source come out as they went in, whatever the options."""

import re
from typing import Any

import pytest

from slimseq.inference.text.passes import NAMES, NUMBERS
from tests.service.client import Service, texts
from tests.service.test_streaming import streamed

# Sentences, each with the facts that must be in its translation exactly once, as German writes them.
SENTENCES = {
    "The company was sold for £3.2 billion.": ("3,2 Milliarden",),
    "The new phone costs $1,299.99.": ("1.299,99",),
    "You can find more at https://www.example.com/shop/item?id=7&lang=en.": (
        "https://www.example.com/shop/item?id=7&lang=en",
    ),
    "Please write to john.doe+news@mail.example.org.": ("john.doe+news@mail.example.org",),
    "Please call +49 30 1234567 or (555) 123-4567.": ("+49 30 1234567", "(555) 123-4567"),
    "Run `pip install slimseq` to begin.": ("`pip install slimseq`",),
    "This is <b>very</b> important.": ("<b>", "</b>"),
    "The train leaves at 3:30 p.m. on March 5, 2024.": ("15:30", "5. März 2024"),
    "He is 5\u2032 11\u2033 tall, call him at 555\u2011123\u20114567.": ("5\u2032 11\u2033", "555\u2011123\u20114567"),
    "See the page https://exam\u200bple.com/a\u2060b\ufeff, it costs 12\u20605 euros.": (
        "https://exam\u200bple.com/a\u2060b",
        "125",
    ),
    "Version 2.0.1 is from 2019, and 12.5% of the users have it.": ("2.0.1", "2019", "12,5"),
}


def translated(service: Service, text: str | list[str], **options: Any) -> list[str]:
    return texts(service.post("/translate", {"text": text, **options}))


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        ("original", {}),
        ("quantized", {"num_beams": 2}),
        ("quantized", {"num_beams": 1, "do_sample": True, "temperature": 1.5, "seed": 3}),
        ("compact", {"num_beams": 1}),
    ],
)
def test_facts_come_out_as_they_went_in_or_as_german_writes_them(
    service: Service, variant: str, options: dict[str, Any]
) -> None:
    answer = service.post(f"/translate?variant={variant}", {"text": list(SENTENCES), **options})

    for facts, output in zip(SENTENCES.values(), answer.json["outputs"], strict=True):
        assert all(output["text"].count(fact) == 1 for fact in facts), output["text"]


def test_a_sentence_without_facts_is_translated_as_without_protection(service: Service) -> None:
    texts = ["The children are playing in the garden.", "Good morning. How are you?"]

    assert translated(service, texts) == translated(service, texts, protect=False)


@pytest.mark.parametrize("beams", [1, 4])
def test_the_pieces_of_a_stream_add_up_to_the_answer(service: Service, beams: int) -> None:
    texts = [" ".join(SENTENCES), "Good morning. The children are playing.\n\nMail a@b.org today. It is raining.", "42"]

    answer = service.post("/translate", {"text": texts, "num_beams": beams, "stream": True})

    name, last = answer.events[-1]
    assert name == "done"
    assert streamed(answer) == [output["text"] for output in last["outputs"]]
    assert streamed(answer) == translated(service, texts, num_beams=beams)


def test_an_answer_is_the_same_alone_and_among_others(service: Service) -> None:
    together = translated(service, list(SENTENCES))

    assert together == [translated(service, text)[0] for text in SENTENCES]
    assert translated(service, " ".join(SENTENCES)) == [" ".join(together)]


def test_a_text_that_looks_like_a_placeholder_stays_as_it_is(service: Service) -> None:
    text = f"{NAMES[0]} and {NAMES[1]} have {NUMBERS[0]} apples, see https://example.com/{NAMES[0]} and a@b.org."

    output = translated(service, text)[0]

    assert output.count(f"https://example.com/{NAMES[0]}") == 1
    assert output.count("a@b.org") == 1
    assert re.search(rf"(?<!\d){NUMBERS[0]}(?!\d)", output)


@pytest.mark.parametrize("text", ["42", "1,299.99", "3.14 2.72\n5 + 7 = 12", "9" * 10_000, "https://example.com/a"])
def test_a_text_without_words_keeps_its_facts(service: Service, text: str) -> None:
    kept = text.replace("1,299.99", "1.299,99").replace("3.14 2.72", "3,14 2,72")

    assert translated(service, text) == [kept]
    answer = service.post("/translate", {"text": text, "stream": True})
    assert streamed(answer) == [kept]


def test_stop_strings_end_the_translation_and_not_its_placeholders(service: Service) -> None:
    text = "Please write to john@example.org about the garden."

    before = translated(service, text, stop=["example.org"])[0]
    whole = translated(service, text, stop=[NAMES[0]])[0]

    assert before.endswith("john@")
    assert "john@example.org" in whole


def test_comparisons_and_other_dialects_protect_too(service: Service) -> None:
    text = "You can find more at https://www.example.com/shop."
    body = {"text": text}

    compare = "/compare?task=translation&variant=original&variant=quantized"
    compared = service.post(compare, body).json
    plain = service.post(compare, {**body, "protect": False}).json
    libretranslate = service.post("/libretranslate/translate", {"q": text, "source": "en", "target": "de"}).json
    hugging_face = service.post("/huggingface/translate", {"inputs": text}).json

    for each in compared["results"]:
        assert "https://www.example.com/shop" in each["outputs"][0]["text"]
    assert any("https://www.example.com/shop" not in each["outputs"][0]["text"] for each in plain["results"])
    [own] = translated(service, text)
    assert libretranslate["translatedText"] == own
    assert hugging_face[0]["translation_text"] == own


def test_protection_is_no_field_of_summaries(service: Service) -> None:
    assert service.post("/summarize", {"text": "A text.", "protect": False}).status == 422
    answer = service.post(
        "/compare?task=summarization&variant=original&variant=quantized", {"text": "A text.", "protect": False}
    )
    assert answer.status == 422
    assert "protect" in answer.problem.detail
