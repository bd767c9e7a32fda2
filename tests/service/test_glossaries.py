"""Glossaries: terms that a request has in its body, and files of terms that a request names."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimseq.client import Client
from tests.service.client import Response, Service, texts
from tests.service.conftest import running_service
from tests.service.test_streaming import streamed

TEXT = "The invoices for Slimseq are paid. The children are playing in the garden."
TERMS = {"invoice": "Faktur", "garden": "Hof"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good glossary, a broken one, and files that are none."""
    folder = tmp_path_factory.mktemp("glossaries")
    (folder / "billing.csv").write_text("invoice,Faktur\ngarden,Hof\n")
    (folder / "broken.csv").write_text("invoice,Faktur\ninvoice,Rechnung\n")
    (folder / "notes.txt").write_text("no glossary")
    (folder / "name\udcff.csv").write_text("no name in UTF-8")
    os.mkfifo(folder / "pipe.csv")
    return folder


@pytest.fixture(scope="module")
def service(prepared: None, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service") / "log", glossaries=folder) as running:
        yield running


def post(service: Service, text: Any = TEXT, **fields: Any) -> Response:
    return service.post("/translate", {"text": text, **fields})


@pytest.mark.parametrize("options", [{}, {"num_beams": 1}, {"num_beams": 4, "num_return_sequences": 2}])
def test_terms_and_names_are_in_the_translation_also_by_the_name_of_a_file(
    service: Service, options: dict[str, Any]
) -> None:
    own = post(service, glossary=TERMS, keep=["Slimseq"], **options)
    named = post(service, glossary="billing", keep=["Slimseq"], **options)

    assert all(each in texts(own)[0] for each in ("Faktur", "Slimseq", "Hof"))
    assert texts(own) == texts(named)
    assert streamed(post(service, glossary=TERMS, keep=["Slimseq"], stream=True, **options)) == texts(own)


def test_markup_stays_around_a_term(service: Service) -> None:
    [page] = texts(post(service, "<p>The <b>garden</b> is big.</p>", format="html", glossary="billing"))
    [note] = texts(post(service, "The **garden** is big.\n", format="markdown", glossary="billing"))

    assert "<b>Hof</b>" in page
    assert "**Hof**" in note


def test_a_glossary_changes_no_other_answer(service: Service) -> None:
    before = texts(post(service))

    post(service, glossary=TERMS)

    assert texts(post(service)) == before
    assert "Faktur" not in before[0]


def test_files_are_listed_and_read_again_after_a_change(service: Service, folder: Path) -> None:
    listed = service.get("/glossaries").json["glossaries"]
    assert [(each["name"], each["terms"]) for each in listed] == [("billing", 2), ("broken", 0)]
    assert "two targets" in listed[1]["error"]

    (folder / "later.csv").write_text("garden,Hof")
    assert "Hof" in texts(post(service, glossary="later"))[0]
    # The new file must have another time of change.
    time.sleep(0.01)
    (folder / "new").write_text("garden,Park")
    (folder / "new").replace(folder / "later.csv")
    assert "Park" in texts(post(service, glossary="later"))[0]
    (folder / "later.csv").unlink()
    assert post(service, glossary="later").status == 422


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"glossary": {"Ab": "x", "ab": "y"}}, "glossary: 'ab' has two targets"),
        ({"glossary": "broken"}, "glossary: broken.csv: 'invoice' has two targets"),
        ({"glossary": "../billing"}, "glossary: there is none of the name"),
        ({"glossary": "/etc/passwd"}, "glossary: there is none of the name"),
        ({"glossary": {"ab": 1}}, "glossary"),
        ({"glossary": TERMS, "keep": ["garden"]}, "glossary: 'garden' is a name to keep too"),
        ({"keep": "Slimseq"}, "keep: "),
    ],
)
def test_bad_glossaries_are_refused_and_the_service_goes_on(service: Service, fields: Any, said: str) -> None:
    refused = post(service, **fields)

    assert refused.status == 422
    assert refused.problem.detail.startswith(said)
    assert post(service).status == 200


def test_a_hundred_thousand_terms_are_refused_and_the_limits_are_said(service: Service) -> None:
    refused = post(service, glossary={f"term {number}": "x" for number in range(100_000)})

    assert refused.status == 422
    assert "send fewer texts, pairs or terms" in refused.problem.detail
    assert service.get("/info").json["max_glossary_terms"] == 1000


def test_variants_are_compared_and_clients_translate_with_a_glossary(service: Service) -> None:
    compared = service.post(
        "/compare?task=translation&variant=compact&variant=quantized", {"text": TEXT, "glossary": TERMS}
    )
    with Client(f"http://127.0.0.1:{service.port}") as client:
        answer = client.translate(TEXT, glossary="billing", keep=["Slimseq"])
    refused = service.post("/compare?task=summarization&variant=a&variant=b", {"text": TEXT, "keep": ["x"]})

    assert all("Faktur" in each["outputs"][0]["text"] for each in compared.json["results"])
    assert "Faktur" in answer.text
    assert "Slimseq" in answer.text
    assert refused.status == 422
    assert refused.problem.detail == "keep: is not a field of summarization"
