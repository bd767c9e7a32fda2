"""HTML and Markdown: words are translated, markup stays, and what cannot be read is refused with its place."""

from typing import Any

import pytest

from tests.inference.text.formats.marked_documents import html_document, markdown_document
from tests.inference.text.formats.structures import html_structure, markdown_structure
from tests.service.client import Response, Service, texts

SENTENCE = "The children are playing in the garden."
MARKDOWN = f"# Good morning\n\n- {SENTENCE}\n- It is **very cold** today.\n\n```\nx = 1\n```\n"


def plain_translation(service: Service, text: str) -> str:
    return texts(service.post("/translate?variant=quantized", {"text": text}))[0]


def translated(service: Service, form: str, text: Any, **fields: Any) -> Response:
    return service.post("/translate?variant=quantized", {"text": text, "format": form, **fields})


def test_markdown_keeps_everything_but_its_words(service: Service) -> None:
    answer = translated(service, "markdown", MARKDOWN).json["outputs"][0]

    assert answer["text"].startswith(
        f"# {plain_translation(service, 'Good morning')}\n\n- {plain_translation(service, SENTENCE)}\n- "
    )
    assert answer["text"].endswith("\n\n```\nx = 1\n```\n")
    assert answer["text"].count("**") == 2
    assert answer["output_tokens"] > 0
    assert answer["finish_reason"] == "eos"


def test_documents_have_one_output_each_also_without_words(service: Service) -> None:
    html = f'<div class="a"><p>{SENTENCE}</p><pre><code>x = 1</code></pre></div>'
    answer = translated(service, "html", ["<hr>", html, "<img src=a.png>"])
    nothing = translated(service, "markdown", "```\nx = 1\n```")

    assert [output["text"] for output in answer.json["outputs"]] == [
        "<hr>",
        html.replace(SENTENCE, plain_translation(service, SENTENCE)),
        "<img src=a.png>",
    ]
    assert nothing.json["outputs"][0]["text"] == "```\nx = 1\n```"


@pytest.mark.parametrize(("form", "document"), [("html", html_document), ("markdown", markdown_document)])
def test_the_pieces_of_a_stream_add_up_to_the_document(service: Service, form: str, document: Any) -> None:
    source = document(4)

    events = translated(service, form, source, stream=True).events
    whole = translated(service, form, source).json["outputs"][0]["text"]

    pieces = [data["text"] for name, data in events if name == "token"]
    done = events[-1][1]["outputs"][0]["text"]
    assert len(pieces) > 2
    assert "".join(pieces) == done == whole


def test_variants_are_compared_by_their_documents(service: Service) -> None:
    compared = service.post(
        "/compare?task=translation&variant=quantized&variant=pruned", {"text": MARKDOWN, "format": "markdown"}
    )

    texts = [result["outputs"][0]["text"] for result in compared.json["results"]]
    assert all(markdown_structure(text) == markdown_structure(MARKDOWN) for text in texts)


@pytest.mark.parametrize(
    ("form", "marked"),
    [
        ("html", "<html><head><title>T</title></head><body><h1>A fire</h1><p>{}</p><script>x</script></body></html>"),
        ("html", "<h1>A fire</h1>\n<p>{}</p>\n<pre><code>x = <b>1</b></code></pre>\n"),
        ("markdown", "# A fire\n\n{}\n\n```\nx = 1\n```\n"),
    ],
)
def test_a_summary_is_that_of_the_text_without_markup(service: Service, form: str, marked: str) -> None:
    article = "A fire broke out in a <b>warehouse</b> in the north of the city. Nobody was hurt. The cause is unknown."
    plain = "A fire\n" + article.replace("<b>", "").replace("</b>", "")
    if form == "markdown":
        article = article.replace("<b>", "**").replace("</b>", "**")

    def summary(fields: dict[str, Any]) -> str:
        text: str = service.post("/summarize?variant=quantized", fields).json["outputs"][0]["text"]
        return text

    expected = summary({"text": plain})
    assert summary({"text": marked.format(article), "format": form}) == expected
    assert summary({"text": marked.format(article), "format": form, "long_input": "map_reduce"}) == expected


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/translate", {"text": "<p>a <b>red</p>", "format": "html"}, "text: <b> at line 1, column 6 is not closed"),
        (
            "/translate",
            {"text": ["Yes.", "<p"], "format": "html"},
            "text[1]: the tag at line 1, column 1 is not",
        ),
        ("/translate", {"text": "> " * 1000 + "a", "format": "markdown"}, "text: markup is nested more than 20 deep"),
        ("/translate", {"text": "Yes.", "format": "pdf"}, "format: "),
        ("/summarize", {"text": "<hr>", "format": "html"}, "text: has no text beside its markup"),
        ("/summarize", {"text": "<b>", "format": "html", "long_input": "map_reduce"}, "text: <b> at line 1"),
        (
            "/translate",
            {"text": ["<p>Yes.</p><p>No.</p>", f"<p>{'word ' * 2000}</p>"], "format": "html", "on_overflow": "error"},
            "text[1]: ",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    service: Service, path: str, fields: dict[str, Any], said: str
) -> None:
    refused = service.post(path, fields)

    assert refused.status == 422
    assert refused.problem.detail.startswith(said)


@pytest.mark.parametrize(
    ("form", "text", "structure"),
    [
        ("html", "<b>" * 1000 + "deep" + "</b>" * 1000, html_structure),
        ("html", "<p>a</p>" * 10_000, html_structure),
        ("html", f"<img alt='{'a' * 900_000}'>", html_structure),
        ("html", "<td><li>" * 50_000 + "</p>" * 100_000, html_structure),
        ("markdown", "*" * 100_000, markdown_structure),
    ],
    ids=["nested", "ten-thousand-tags", "one-tag", "optional-end-tags", "stars"],
)
def test_hostile_documents_are_answered_or_refused_in_time(
    service: Service, form: str, text: str, structure: Any
) -> None:
    answer = service.post("/translate?variant=compact", {"text": text, "format": form, "num_beams": 1})

    assert answer.status in (200, 422)
    if answer.status == 200:
        assert structure(answer.json["outputs"][0]["text"]) == structure(text)
