"""Keys: who may use the service for what, and how much of it."""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from libretranslatepy import LibreTranslateAPI

from slimseq.app.http.keys import KeyLimits, Scope, add_key, revoke_key
from slimseq.app.http.middleware import OPEN_PATHS
from slimseq.client import Client, ServiceProblem
from tests.service.client import Response, Service, eventually
from tests.service.conftest import running_service

GREETING = {"text": "Good morning."}
COMPARE = "/compare?task=translation&variant=original&variant=quantized"
ADMIN_TOKEN = "the token of operators"


@dataclass(frozen=True)
class Guarded:
    """A service that asks for keys: its file of keys, its log, and the keys by name."""

    service: Service
    file: Path
    log: Path
    keys: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.service.port}"

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"}

    def lines(self) -> list[dict[str, Any]]:
        """The entries of the log. Lines that libraries print are no JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("keys")
    file = folder / "keys.json"
    log = folder / "log"
    keys: dict[str, str] = {}

    def add(name: str, *scopes: Scope, limits: KeyLimits | None = None) -> None:
        _, keys[name] = add_key(file, name, scopes, limits or KeyLimits(), None)

    for scope in Scope:
        add(scope, scope)
    # A second key of the same scope, to see what keys of others may do.
    add("evaluates too", Scope.EVALUATE)
    # Each test of a limit has a key of its own.
    for name, limits in {
        "three a minute": KeyLimits(requests_per_minute=3),
        "few characters": KeyLimits(characters_per_minute=40),
        "characters of terms": KeyLimits(characters_per_minute=40),
        "characters to detect": KeyLimits(characters_per_minute=40),
        "one at once": KeyLimits(concurrent_requests=1),
        "one evaluation": KeyLimits(evaluations_per_day=1),
    }.items():
        add(name, Scope.GENERATE, Scope.EVALUATE, limits=limits)
    with running_service(log, keys_file=file, admin_token=ADMIN_TOKEN) as service:
        yield Guarded(service, file, log, keys)


def translate(guarded: Guarded, name: str, text: str = GREETING["text"]) -> Response:
    return guarded.service.post("/translate", {"text": text}, guarded.headers(name))


def operations(service: Service) -> list[tuple[str, str]]:
    """The method and path of every endpoint of the OpenAPI document, with names in the place of parameters."""
    paths = service.get("/openapi.json").json["paths"]
    filled = {"{task}": "translation", "{variant}": "nope", "{identifier}": "nope", "{slug}": "forbidden"}
    found = []
    for template, methods in paths.items():
        path = template
        for parameter, value in filled.items():
            path = path.replace(parameter, value)
        found += [(method.upper(), path) for method in methods]
    return found


def test_every_endpoint_needs_a_key_except_the_open_ones(guarded: Guarded) -> None:
    refused: set[str] = set()
    answered: set[str] = set()
    for method, path in operations(guarded.service):
        answer = guarded.service.send(method, path, b"{}", {"Content-Type": "application/json"})
        if answer.status != 401:
            answered.add(path)
        else:
            refused.add(path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="slimseq"'

    assert answered <= {*OPEN_PATHS, "/problems/forbidden"}
    assert {"/translate", "/summarize", "/compare", "/evaluations", "/experiments", "/metrics", "/variants"} <= refused
    assert guarded.service.get("/").status == guarded.service.get("/docs").status == 200


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/translate", Scope.GENERATE),
        ("POST", "/summarize", Scope.GENERATE),
        ("POST", COMPARE, Scope.GENERATE),
        ("POST", "/feedback", Scope.GENERATE),
        ("POST", "/evaluations", Scope.EVALUATE),
        ("GET", "/evaluations", Scope.EVALUATE),
        ("GET", "/metrics", Scope.METRICS),
        ("POST", "/variants/translation/nope/load", Scope.ADMIN),
        ("POST", "/variants/translation/nope/unload", Scope.ADMIN),
        ("POST", "/experiments/nope/stop", Scope.ADMIN),
    ],
)
def test_a_key_opens_what_its_scope_is_for_and_nothing_else(
    guarded: Guarded, method: str, path: str, scope: Scope
) -> None:
    body = json.dumps(GREETING).encode()
    statuses = {}
    for scope_of_key in Scope:
        headers = {"Content-Type": "application/json", **guarded.headers(scope_of_key)}
        statuses[scope_of_key] = guarded.service.send(method, path, body, headers).status

    assert {name for name, status in statuses.items() if status != 403} == {scope, Scope.ADMIN}
    assert 401 not in statuses.values()


def test_what_only_shows_is_open_to_every_key(guarded: Guarded) -> None:
    for path in ("/variants", "/quality", "/latency", "/memory", "/info", "/experiments"):
        statuses = {guarded.service.get(path, guarded.headers(str(scope))).status for scope in Scope}
        assert statuses == {200}, path


def test_a_wrong_key_and_none_are_refused_in_the_same_words(guarded: Guarded) -> None:
    key = guarded.keys["generate"]
    wrong = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {key[:-1]}"},
        {"Authorization": f"Basic {key}"},
        {"Authorization": key},
    ]
    answers = [guarded.service.post("/summarize", GREETING, headers) for headers in wrong]

    assert {answer.status for answer in answers} == {401}
    assert len({answer.problem.detail for answer in answers}) == 1


def test_a_request_without_a_key_is_refused_before_its_body_is_read(guarded: Guarded) -> None:
    # The headers of a body of 4 MiB, which never comes.
    connection = http.client.HTTPConnection("127.0.0.1", guarded.service.port, timeout=30)
    connection.putrequest("POST", "/summarize")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(4 * 1024 * 1024))
    connection.endheaders()
    refused = connection.getresponse()
    connection.close()

    assert refused.status == 401


def translation_of_greeting(guarded: Guarded) -> str:
    return str(translate(guarded, "generate").json["outputs"][0]["text"])


def test_a_client_of_libretranslate_sends_its_key(guarded: Guarded) -> None:
    client = LibreTranslateAPI(f"{guarded.url}/libretranslate", api_key=guarded.keys["generate"])

    translation = client.translate("Good morning.", "en", "de")
    languages = client.languages()

    assert translation == translation_of_greeting(guarded)
    assert languages[0]["code"] == "en"


def test_the_api_of_libretranslate_takes_a_key_in_the_body(guarded: Guarded) -> None:
    def post(**key: str) -> Response:
        fields = {"q": "Good morning.", "source": "en", "target": "de"}
        return guarded.service.post("/libretranslate/translate", {**fields, **key})

    right = post(api_key=guarded.keys["generate"])
    wrong = post(api_key="wrong")
    missing = post()
    of_other_scope = post(api_key=guarded.keys["metrics"])
    settings = guarded.service.get("/libretranslate/frontend/settings").json

    assert right.json["translatedText"] == translation_of_greeting(guarded)
    for refused in (wrong, missing):
        assert refused.status == 401
        assert "key" in refused.json["error"]
    assert of_other_scope.status == 403
    assert settings["apiKeys"]
    assert settings["keyRequired"]


def test_a_client_of_hugging_face_sends_its_key(guarded: Guarded) -> None:
    url = f"{guarded.url}/huggingface/translate"

    answer = InferenceClient(url, token=guarded.keys["generate"]).translation("Good morning.")
    with pytest.raises(HfHubHTTPError, match="401"):
        InferenceClient(url, token="wrong").translation("Good morning.")

    assert answer.translation_text == translation_of_greeting(guarded)


def test_the_client_of_slimseq_sends_its_key(guarded: Guarded) -> None:
    with Client(guarded.url, token=guarded.keys["generate"]) as client:
        answer = client.translate("Good morning.")
    with Client(guarded.url) as client, pytest.raises(ServiceProblem, match="valid key"):
        client.translate("Good morning.")

    assert answer.text == translation_of_greeting(guarded)


def test_requests_of_a_minute_are_limited(guarded: Guarded) -> None:
    answers = [guarded.service.get("/variants", guarded.headers("three a minute")) for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].problem.type == "/problems/key-limit-reached"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert guarded.service.get("/variants", guarded.headers("generate")).status == 200


def test_characters_of_a_minute_are_limited_in_every_api(guarded: Guarded) -> None:
    key = guarded.keys["few characters"]
    first = translate(guarded, "few characters", "x" * 30)
    second = translate(guarded, "few characters", "x" * 30)
    larger = translate(guarded, "few characters", "x" * 41)
    # A request that is refused does not count: 10 of 40 characters are left.
    within = translate(guarded, "few characters", "x" * 10)
    with pytest.raises(HfHubHTTPError, match="429"):
        InferenceClient(f"{guarded.url}/huggingface/translate", token=key).translation("x" * 30)
    fields = {"q": "x" * 30, "source": "en", "target": "de", "api_key": key}
    libretranslate = guarded.service.post("/libretranslate/translate", fields)
    # Each of the two variants reads the characters.
    comparison = guarded.service.post(COMPARE, {"text": "x" * 21}, guarded.headers("few characters"))

    assert first.status == 200
    assert second.status == 429
    assert "40 characters a minute" in second.problem.detail
    # More than the characters of a minute: it would never be allowed.
    assert larger.status == 413
    assert within.status == 200
    assert libretranslate.status == 429
    assert comparison.status == 413


def test_characters_of_glossaries_of_names_and_of_texts_to_detect_are_counted_too(guarded: Guarded) -> None:
    terms = guarded.headers("characters of terms")
    # 13 characters of the text, and 20 of a term.
    glossary = {**GREETING, "glossary": {"x" * 10: "y" * 10}}
    with_terms = [guarded.service.post("/translate", glossary, terms) for _ in range(2)]
    with_names = guarded.service.post("/translate", {**GREETING, "keep": ["x" * 28]}, terms)
    comparison = guarded.service.post(COMPARE, {"text": "x", "keep": ["x" * 20]}, terms)
    body = {"q": "x" * 30, "api_key": guarded.keys["characters to detect"]}
    detected = [guarded.service.post("/libretranslate/detect", body).status for _ in range(2)]

    assert [answer.status for answer in with_terms] == [200, 429]
    assert with_names.status == 413
    assert comparison.status == 413
    assert detected == [200, 429]


def test_requests_at_once_are_limited_until_a_stream_has_ended(guarded: Guarded) -> None:
    long = {"text": ["The children are playing in the garden."] * 24, "stream": True}
    connection = http.client.HTTPConnection("127.0.0.1", guarded.service.port, timeout=60)
    headers = {"Content-Type": "application/json", **guarded.headers("one at once")}
    connection.request("POST", "/translate", json.dumps(long), headers)
    streaming = connection.getresponse()
    during = translate(guarded, "one at once")
    streaming.read()
    connection.close()
    after = translate(guarded, "one at once")

    assert streaming.status == 200
    assert during.status == 429
    assert after.status == 200
    assert "1 requests at once" in during.problem.detail


def test_a_client_that_leaves_gives_its_place_back(guarded: Guarded) -> None:
    long = {"text": ["The children are playing in the garden."] * 64}
    for _ in range(3):
        connection = http.client.HTTPConnection("127.0.0.1", guarded.service.port, timeout=60)
        headers = {"Content-Type": "application/json", **guarded.headers("one at once")}
        connection.request("POST", "/translate", json.dumps(long), headers)
        connection.close()

    assert eventually(lambda: translate(guarded, "one at once").status != 429, seconds=30)


def test_evaluations_of_a_day_are_limited(guarded: Guarded) -> None:
    body = {
        "task": "translation",
        "variants": ["quantized"],
        "pairs": [{"source": "Good morning.", "target": "Guten Morgen."}],
    }
    first = guarded.service.post("/evaluations", body, guarded.headers("one evaluation"))
    second = guarded.service.post("/evaluations", body, guarded.headers("one evaluation"))

    assert first.status == 202
    assert second.status == 429
    # The limit is of a day. Other limits end within a minute.
    assert int(second.headers["retry-after"]) > 60


# An evaluation of some seconds, so that several wait in the queue.
SLOW_PAIRS = [{"source": "The old man walks along the river. " * 40, "target": "Der alte Mann."}] * 8
SLOW_EVALUATION = {"task": "translation", "variants": ["original"], "pairs": SLOW_PAIRS}


def test_one_key_cannot_fill_the_queue_of_evaluations_nor_delete_those_of_others(guarded: Guarded) -> None:
    service = guarded.service
    owner = guarded.headers("evaluate")
    other = guarded.headers("evaluates too")
    admin = guarded.headers("admin")

    posted = [service.post("/evaluations", SLOW_EVALUATION, owner) for _ in range(6)]
    accepted = [answer.json["id"] for answer in posted if answer.status == 202]
    others = service.post("/evaluations", SLOW_EVALUATION, other)
    foreign = service.send("DELETE", f"/evaluations/{accepted[-1]}", headers=other)
    own = service.send("DELETE", f"/evaluations/{accepted[-1]}", headers=owner)
    rest = [*accepted[:-1], others.json["id"]]
    ended = [service.send("DELETE", f"/evaluations/{identifier}", headers=admin).status for identifier in rest]

    # Four may wait. A fifth one is accepted if the first runs already.
    assert len(accepted) in (4, 5)
    assert posted[-1].status == 429
    assert "4 evaluations of this key are queued" in posted[-1].problem.detail
    assert others.status == 202
    assert foreign.status == 403
    assert "only the key that posted" in foreign.problem.detail
    assert own.status == 200
    assert set(ended) == {200}


def test_keys_come_and_go_without_a_restart(guarded: Guarded) -> None:
    def status_becomes(status: int) -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        return bool(eventually(lambda: guarded.service.get("/variants", headers).status == status))

    _, key = add_key(guarded.file, "new", (Scope.GENERATE,), KeyLimits(), None)
    assert status_becomes(200)

    revoke_key(guarded.file, "new")
    assert status_becomes(401)


def test_the_audit_log_says_who_did_what(guarded: Guarded) -> None:
    unload = "/variants/translation/compact/unload"
    guarded.service.send("POST", unload, headers=guarded.headers("admin"))
    guarded.service.send("POST", unload, headers=guarded.headers("generate"))
    lines = [line for line in guarded.lines() if line["logger"] == "slimseq.audit"]

    unloaded = [line for line in lines if line["message"] == "unload variant" and line["variant"] == "compact"]
    assert [(line["caller"], line["outcome"]) for line in unloaded] == [("admin", "done"), ("generate", "forbidden")]
    assert {line["client"] for line in unloaded} == {"127.0.0.1"}
    assert all(line["request_id"] for line in unloaded)


def test_no_log_has_a_key_wherever_the_key_was_sent(guarded: Guarded) -> None:
    unload = "/variants/translation/compact/unload"
    wrong_secret = "x" * 43
    guarded.service.post("/evaluations", {}, guarded.headers("evaluate"))
    guarded.service.post(f"/variants/translation/{guarded.keys['admin']}/unload", {}, guarded.headers("admin"))
    guarded.service.send("POST", unload, headers={"Authorization": f"Bearer slq_12345678_{wrong_secret}"})

    content = guarded.log.read_text()
    for key in guarded.keys.values():
        # A key is `slq_IDENTIFIER_SECRET`. Logs may have the identifier.
        _, _, secret = key.split("_", 2)
        assert secret not in content
    assert ADMIN_TOKEN not in content
    assert wrong_secret not in content


def test_requests_are_logged_with_the_client_and_the_id_of_its_key(guarded: Guarded) -> None:
    answer = translate(guarded, "generate")
    refused = guarded.service.post("/summarize", GREETING)
    lines: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + 10
    # A request is logged once it is answered.
    while refused.headers["x-request-id"] not in lines and time.monotonic() < deadline:
        lines = {line["request_id"]: line for line in guarded.lines() if line["message"] == "request"}

    logged = lines[answer.headers["x-request-id"]]
    assert logged["client"] == "127.0.0.1"
    assert logged["key"] == guarded.keys["generate"].split("_")[1]
    assert "key" not in lines[refused.headers["x-request-id"]]


def test_guesses_of_the_operators_token_are_refused_while_the_right_one_and_generation_go_on(log: Path) -> None:
    unload = "/variants/translation/compact/unload"
    with running_service(log, admin_token=ADMIN_TOKEN) as service:
        guesses = [{"Authorization": f"Bearer {number}"} for number in range(12)]
        statuses = [service.post(unload, {}, guess).status for guess in guesses]
        right = service.post(unload, {}, {"Authorization": f"Bearer {ADMIN_TOKEN}"})
        generated = [service.post("/translate", GREETING, guess).status for guess in guesses]

    # After ten wrong tokens, further ones of this address have to wait.
    assert statuses == [401] * 10 + [429] * 2
    assert right.status == 200
    assert generated == [200] * 12
