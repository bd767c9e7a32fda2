"""The LibreTranslate dialect: its own client, its forms and its error bodies work on `/libretranslate`."""

import json
import re
from html import unescape
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest
from libretranslatepy import LibreTranslateAPI

from tests.service.client import Response, Service, texts

SENTENCE = "The children are playing in the garden."
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def client(service: Service) -> LibreTranslateAPI:
    return LibreTranslateAPI(f"http://127.0.0.1:{service.port}/libretranslate", api_key="unused")


def ours(service: Service, text: str, query: str = "") -> str:
    """What `POST /translate` answers."""
    return texts(service.post(f"/translate{query}", {"text": text}))[0]


def multipart(fields: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """Returns a form as a browser posts it, and its headers."""
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    return "".join([*parts, "--b--\r\n"]).encode(), {"Content-Type": "multipart/form-data; boundary=b"}


def html_text(html: str) -> str:
    return unescape(re.sub("<[^>]*>", "", html))


def post(service: Service, query: str = "", **fields: Any) -> Response:
    return service.post(f"/libretranslate/translate{query}", {"source": "en", "target": "de", **fields})


def test_its_python_client_translates(service: Service, client: LibreTranslateAPI) -> None:
    assert client.translate(SENTENCE, "en", "de") == ours(service, SENTENCE)
    assert client.translate("Grüße & 100 %\nGood morning.", "en", "de") == ours(service, "Grüße & 100 %\nGood morning.")


def test_its_python_client_sees_the_languages_of_the_variants(client: LibreTranslateAPI) -> None:
    assert client.languages() == [
        {"code": "en", "name": "English", "targets": ["de"]},
        {"code": "de", "name": "German", "targets": []},
    ]


def test_its_python_client_detects_languages(client: LibreTranslateAPI) -> None:
    (english,), (german,) = client.detect(SENTENCE), client.detect("Die Kinder spielen im Garten.")

    assert english["language"] == "en"
    assert german["language"] == "de"
    assert 50 < english["confidence"] <= 100


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("fr", "de", "fr is not supported"),
        ("en", "xx", "xx is not supported"),
        ("de", "en", "English (en) is not available as a target language from German (de)"),
    ],
)
def test_languages_that_no_variant_knows_are_refused_in_its_words(
    client: LibreTranslateAPI, source: str, target: str, said: str
) -> None:
    with pytest.raises(HTTPError) as refused:
        client.translate("Hello.", source, target)

    assert refused.value.code == 400
    assert json.loads(refused.value.read()) == {"error": said}


def test_a_list_is_answered_with_a_list_and_what_has_no_letter_with_itself(service: Service) -> None:
    answer = post(service, q=["Good morning.", "", " \n", "\U0001f600", "1,234.50", SENTENCE])

    assert answer.status == 200
    unchanged = ["", " \n", "\U0001f600", "1,234.50"]
    expected = [ours(service, "Good morning."), *unchanged, ours(service, SENTENCE)]
    assert answer.json == {"translatedText": expected}


@pytest.mark.parametrize(("source", "target"), [("EN", "DE"), ("en-US", "de-at")])
def test_languages_may_have_a_region_and_capitals(service: Service, source: str, target: str) -> None:
    answer = post(service, q=SENTENCE, source=source, target=target)

    assert answer.json == {"translatedText": ours(service, SENTENCE)}


def test_a_language_is_detected_and_alternatives_are_found(service: Service) -> None:
    one = post(service, q=SENTENCE, source="auto", alternatives=3)
    two = post(service, q=["Good morning.", SENTENCE], source="auto", alternatives="2")
    german = post(service, q="Die Kinder spielen im Garten.", source="auto")

    found = one.json["detectedLanguage"]
    assert found["language"] == "en"
    assert 1 <= len({*one.json["alternatives"]} - {one.json["translatedText"]}) <= 3
    assert [each["language"] for each in two.json["detectedLanguage"]] == ["en", "en"]
    assert all(1 <= len(own) <= 2 for own in two.json["alternatives"])
    assert german.status == 400
    assert "from German (de)" in german.json["error"]


def test_a_form_may_be_multipart(service: Service) -> None:
    fields = {"q": "Good morning.\r\nIt is raining.", "source": "en", "target": "de", "format": "", "api_key": ""}

    translated = service.send("POST", "/libretranslate/translate", *multipart(fields))
    detected = service.send("POST", "/libretranslate/detect", *multipart({"q": "Die Kinder spielen im Garten."}))
    with_file = service.send("POST", "/libretranslate/translate", *multipart({'q"; filename="a.txt': "Yes."}))

    assert translated.json == {"translatedText": ours(service, "Good morning.\nIt is raining.")}
    assert detected.json[0]["language"] == "de"
    assert with_file.status == 400
    assert "files" in with_file.json["error"]


def test_json_that_is_sent_as_a_form_is_refused_with_what_to_do(service: Service) -> None:
    refused = service.send("POST", "/libretranslate/translate", json.dumps({"text": SENTENCE}), FORM)

    assert refused.status == 415
    assert "content-type: application/json" in refused.json["error"]


def test_fields_may_be_in_the_query(service: Service) -> None:
    query = urlencode({"q": SENTENCE, "source": "en", "target": "de", "variant": "pruned"})

    translated = service.send("POST", f"/libretranslate/translate?{query}")
    mixed = service.send("POST", "/libretranslate/translate?source=en&target=de", urlencode({"q": SENTENCE}), FORM)
    keyed = post(service, "?api_key=secret", q=SENTENCE)
    detected = service.send("POST", f"/libretranslate/detect?{urlencode({'q': 'Die Kinder spielen im Garten.'})}")

    assert translated.json == {"translatedText": ours(service, SENTENCE, "?variant=pruned")}
    assert mixed.json == keyed.json == {"translatedText": ours(service, SENTENCE)}
    assert detected.json[0]["language"] == "de"


def test_a_query_that_is_no_request_of_its_own_is_refused(service: Service) -> None:
    twice = post(service, "?target=de", q=SENTENCE)
    missing = service.send("POST", "/libretranslate/translate?q=Yes.&source=en")
    unchosen = service.send("POST", "/libretranslate/translate?q=Yes.&source=en&target=de&min_retention=9")
    listed = service.post("/libretranslate/detect", ["Yes."])

    assert twice.status == 400
    assert twice.json["error"].startswith("Invalid request: target: is given in the query and")
    assert missing.status == 400
    assert missing.json == {"error": "Invalid request: missing target parameter"}
    assert unchosen.status == 400
    assert "min_retention" in unchosen.json["error"]
    assert listed.status == 400
    assert "JSON object" in listed.json["error"]


def test_its_health_probe_is_answered(service: Service) -> None:
    assert service.get("/libretranslate/health").json == {"status": "ok"}


def test_a_sentence_with_inline_tags_is_translated_whole(service: Service) -> None:
    html = "<p>The <b>red</b> house, built in <a href='/1920'>1920</a>, is old. I &lt;3 it.</p><p>Yes.</p>"

    translated = post(service, q=html, format="html").json["translatedText"]

    plain = html_text(translated.split("</p>")[0])
    assert plain == ours(service, "The red house, built in 1920, is old. I <3 it.")
    assert "<a href='/1920'>1920</a>" in translated
    assert translated.endswith(f"<p>{ours(service, 'Yes.')}</p>")
    assert [translated.count(tag) for tag in ("<b>", "</b>", "<a ", "</a>", "<p>", "</p>")] == [1, 1, 1, 1, 2, 2]


def test_html_may_have_more_texts_than_a_request(service: Service) -> None:
    answer = post(service, "?variant=compact", q="<p>Good morning.</p>" * 100, format="html")

    assert answer.status == 200
    assert answer.json["translatedText"].count("<p>") == 100


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"q": ""}, 400, "Invalid request: missing q parameter"),
        ({"q": 5}, 400, "Invalid request: q: must be a string or a list of strings, not a number"),
        ({"q": "Yes.", "format": "pdf"}, 400, "pdf format is not supported"),
        ({"q": "Yes.", "alternatives": "many"}, 400, "Invalid request: alternatives parameter is not a number"),
        ({"q": "Yes.", "alternatives": 16}, 400, "Invalid request: alternatives: "),
        ({"q": "Yes.", "beams": 4}, 400, "Invalid request: beams: is not a field here"),
        ({"q": ["<p>Yes.</p>", "<p>A <b>red</p>"], "format": "html"}, 400, "q[1]: <b> at line 1, column 6 is not clo"),
        ({"q": ["Yes."] * 65}, 400, "text: has 65 entries; at most 64"),
    ],
)
def test_bad_input_is_refused_in_its_form(service: Service, fields: dict[str, Any], status: int, said: str) -> None:
    refused = post(service, **fields)

    assert refused.status == status
    assert refused.headers["content-type"] == "application/json"
    assert list(refused.json) == ["error"]
    assert refused.json["error"].startswith(said)


def test_an_unknown_variant_is_refused(service: Service) -> None:
    unknown = post(service, "?variant=nope", q=SENTENCE)

    assert unknown.status == 404
    assert "original" in unknown.json["error"]


def test_limits_and_checks_hold_for_its_requests_too(service: Service) -> None:
    large = service.send("POST", "/libretranslate/translate", b"q=" + b"a" * (8 * 1024 * 1024), FORM)
    long = service.send(
        "POST", "/libretranslate/translate", urlencode({"q": "a" * 1_000_001, "source": "en", "target": "de"}), FORM
    )
    elsewhere = service.send("POST", "/translate", urlencode({"q": "Yes."}), FORM)
    escaped = service.send("POST", "/libretranslate/translate", b"q=" + b"%41" * 400_000, FORM)
    query = post(service, "?varinat=pruned", q="Yes.")

    assert large.status == 413
    assert long.status == 400
    assert "at most 1000000" in long.json["error"]
    assert elsewhere.status == 415
    assert escaped.status == 413
    assert "1048576 bytes" in escaped.json["error"]
    assert query.status == 400
    assert "varinat" in query.json["error"]


def test_its_requests_count_in_latency_and_metrics(service: Service) -> None:
    def count() -> int:
        latencies = service.get("/latency?task=translation&variant=distilled").json["latencies"]
        return latencies[0]["count"] if latencies else 0

    before = count()
    assert post(service, "?variant=distilled", q="<p>One.</p><p>Two.</p>", format="html").status == 200
    post(service, q="Yes.", source="fr")

    assert count() == before + 1
    assert 'reason="unsupported-languages"' in service.get("/metrics").text


def test_frontend_settings_say_what_the_service_takes(service: Service) -> None:
    settings = service.get("/libretranslate/frontend/settings").json

    assert settings["charLimit"] == 1_000_000
    assert settings["keyRequired"] is False
    assert settings["language"]["source"] == {"code": "en", "name": "English"}
    assert settings["language"]["target"] == {"code": "de", "name": "German"}
