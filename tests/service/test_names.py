"""Names that a model cannot write come out as they went in: in texts, markup and streams, and with glossaries."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimseq.models_store.places import embedded_store
from tests.service.client import Service, texts
from tests.service.conftest import running_service
from tests.service.test_streaming import streamed

# Sentences, each with the names that must be in its translation.
SENTENCES = {
    "Anna Müller lives in Zürich.": ("Anna Müller", "Zürich"),
    "Łukasz Żak met Søren in Århus.": ("Łukasz Żak", "Søren", "Århus"),
    "We ate a crème brûlée after dinner.": ("crème brûlée",),
    "Mr Nuñez paid the bill.": ("Nuñez",),
    "Beyoncé sang in the stadium.": ("Beyoncé",),
    "The Müller-Lüdenscheidt family is here.": ("Müller-Lüdenscheidt",),
}


@pytest.fixture(scope="module")
def whole(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that `make run` starts, with both translators."""
    with running_service(tmp_path_factory.mktemp("whole") / "log", store=embedded_store()) as running:
        yield running


GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "texts.md").read_text(encoding="utf-8")
# The section ends at the next heading.
NAMES_SECTION = GUIDE.partition("### Names")[2].partition("\n##")[0]
# The rows of its table: a source, and its translations without and with protection. The head of the table begins with
# a small letter, and the line below it with dashes.
ROWS = re.findall(r"^\| ([A-ZŁ].+) \| (.+) \| (.+) \|$", NAMES_SECTION, re.MULTILINE)


@pytest.fixture(params=["portuguese", "portuguese-quantized", "portuguese-compact", "original", "quantized", "compact"])
def path(request: pytest.FixtureRequest) -> str:
    return f"/translate?variant={request.param}"


def test_names_come_out_as_they_went_in(whole: Service, path: str) -> None:
    answer = whole.post(path, {"text": list(SENTENCES)})

    for names, output in zip(SENTENCES.values(), answer.json["outputs"], strict=True):
        assert all(name in output["text"] for name in names), output["text"]
        assert not output.get("warnings")


def test_a_stream_has_the_same_names(whole: Service, path: str) -> None:
    given = {"text": [" ".join(SENTENCES), "Søren is here."], "repair": False}

    assert streamed(whole.post(path, {**given, "stream": True})) == texts(whole.post(path, given))


def test_names_stay_in_their_markup(whole: Service, path: str) -> None:
    page = "<p>The house of <b>Łukasz Żak</b> is in <i>Århus</i>.</p>"
    [html] = texts(whole.post(path, {"text": page, "format": "html"}))
    [note] = texts(whole.post(path, {"text": "The house of **Łukasz Żak** is in *Århus*.\n", "format": "markdown"}))

    assert "<b>Łukasz Żak</b>" in html
    assert "<i>Århus</i>" in html
    assert "**Łukasz Żak**" in note
    assert "*Århus*" in note


def test_keep_and_glossary_work_for_names_that_a_model_cannot_write(whole: Service, path: str) -> None:
    text = "Jürgen Żak lives in Århus. The garden is big."

    [kept] = texts(whole.post(path, {"text": text, "keep": ["Żak"]}))
    [termed] = texts(whole.post(path, {"text": text, "glossary": {"Århus": "Aarhus", "garden": "Xyx"}}))

    assert "Jürgen" in kept
    assert "Żak" in kept
    assert "Århus" in kept
    assert "Jürgen" in termed
    assert "Aarhus" in termed
    assert "Århus" not in termed
    assert "Xyx" in termed


def test_the_guide_shows_what_is_answered(whole: Service) -> None:
    sources, plain, protected = zip(*ROWS, strict=True)

    for wanted, protect in ((plain, False), (protected, True)):
        given = {"text": [*sources], "protect": protect}
        assert tuple(texts(whole.post("/translate?variant=portuguese-quantized", given))) == wanted
    assert len(ROWS) == 5


def test_without_protection_a_warning_says_which_names_are_lost(whole: Service) -> None:
    answer = whole.post(
        "/translate?variant=portuguese-quantized", {"text": "Anna Müller lives in Zürich.", "protect": False}
    )

    [output] = answer.json["outputs"]
    assert "Müller" not in output["text"]
    assert output["warnings"] == [{"kind": "lost", "detail": "Not in the output: Müller; Zürich."}]
