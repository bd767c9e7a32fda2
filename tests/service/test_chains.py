"""Pivot translation: two variants chain, so that Portuguese goes through English into German.

The models from and into Portuguese are real ones of Firefox.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from libretranslatepy import LibreTranslateAPI

from slimseq.app.http.keys import KeyLimits, Scope, add_key
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.service.client import Response, Service, texts
from tests.service.conftest import needs_torch, running_service

pytestmark = needs_torch
SENTENCE = "As crianças estão brincando no jardim."
PRICE = "O telefone novo custa R$ 1.299,99 e chega em 5 de março de 2024."


@pytest.fixture(scope="module")
def store(embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English to German as embedded, and English to Portuguese and back as Firefox has them."""
    # This import needs PyTorch and SentencePiece, which a serving install has not.
    from tests.marian_students import real_folder

    store = tmp_path_factory.mktemp("chains") / "artifacts"
    others = shutil.ignore_patterns("summarization", "pruned", "distilled", "compact", "compact-float")
    shutil.copytree(embedded.root, store, ignore=others)
    for pair in ("enpt", "pten"):
        done = compression("import", real_folder(pair), "--task", "translation", "--name", pair, "--store", store)
        assert done.code == 0, done.error
    return store


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service") / "log", store=store) as running:
        yield running


def post(service: Service, text: Any, source: str = "pt", target: str = "de", query: str = "", **more: Any) -> Response:
    return service.post(f"/translate{query}", {"text": text, "source": source, "target": target, **more})


def step_by_step(service: Service, text: str, **more: Any) -> list[str]:
    """Returns the English and the German text, each from a request of its own that names the variant."""
    [english] = texts(post(service, text, "pt", "en", "?variant=pten", **more))
    [german] = texts(post(service, english, "en", "de", "?variant=quantized", **more))
    return [english, german]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "max_new_tokens": 20}, {"protect": False}])
def test_a_pair_without_a_variant_goes_through_english_and_the_answer_says_so(
    service: Service, options: dict[str, Any]
) -> None:
    answer = post(service, [SENTENCE, PRICE], **options)

    assert texts(answer) == [step_by_step(service, text, **options)[1] for text in (SENTENCE, PRICE)]
    found = answer.json
    assert [(each["variant"], each["languages"]) for each in found["through"]] == [
        ("pten", ["pt", "en"]),
        ("quantized", ["en", "de"]),
    ]
    listed = {each["variant"]: each["digest"] for each in service.get("/variants").json["variants"]}
    assert [each["digest"] for each in found["through"]] == [listed["pten"], listed["quantized"]]
    assert (found["variant"], found["digest"]) == ("quantized", listed["quantized"])
    for name, milliseconds in found["timings"].items():
        assert milliseconds == pytest.approx(sum(each["timings"][name] for each in found["through"]), abs=0.01)
        assert all(each["timings"][name] >= 0 for each in found["through"])
    assert all("confidence" not in output and output["input_tokens"] > 10 for output in found["outputs"])


@pytest.mark.parametrize(
    ("source", "target", "variant"), [("pt", "en", "pten"), ("EN", "PT", "enpt"), ("en", "de", "quantized")]
)
def test_a_pair_that_a_variant_translates_is_its_own(service: Service, source: str, target: str, variant: str) -> None:
    answer = post(service, "Dia 5.", source, target)

    assert answer.status == 200
    assert answer.json["variant"] == variant
    assert "through" not in answer.json


def test_a_chain_keeps_facts_line_breaks_and_markup(service: Service) -> None:
    page = "<h1>Aviso</h1><p>O telefone novo custa <b>R$ 1.299,99</b>. Veja <code>ls</code>.</p>"

    [plain] = texts(post(service, f"{PRICE}\n\n{SENTENCE}"))
    [html] = texts(post(service, page, format="html"))
    [numbers] = texts(post(service, "12.345,67"))

    assert "1.299,99" in plain
    assert "5. März 2024" in plain
    assert len(plain.split("\n\n")) == 2
    assert html == step_by_step(service, page, format="html")[1]
    assert html.startswith("<h1>")
    assert "<code>ls</code>" in html
    assert "<b>" in html
    assert "1.299,99" in html
    assert numbers == "12.345,67"


def test_a_chain_keeps_names_and_refuses_a_glossary_that_english_has_no_words_for(service: Service) -> None:
    [output] = texts(post(service, "O Xisblon custa muito.", keep=["Xisblon"]))
    refused = post(service, SENTENCE, glossary={"jardim": "Hof"})

    assert "Xisblon" in output
    assert refused.status == 422
    assert refused.problem.detail.startswith("glossary: no variant translates this pair")


@pytest.mark.parametrize("options", [{"num_beams": 2}, {"format": "markdown"}, {"stop": ["Garten"]}])
def test_a_chain_streams_what_it_answers(service: Service, options: dict[str, Any]) -> None:
    whole = post(service, [SENTENCE, PRICE], **options)
    *pieces, (last, done) = post(service, [SENTENCE, PRICE], stream=True, **options).events

    assert last == "done"
    assert {name for name, _ in pieces} == {"token"}
    assert done["outputs"] == whole.json["outputs"]
    streamed = ["".join(each["text"] for _, each in pieces if each["index"] == index) for index in (0, 1)]
    assert streamed == texts(whole)
    assert [each["variant"] for each in done["through"]] == ["pten", "quantized"]


def test_warnings_of_both_steps_say_where(service: Service) -> None:
    [output] = post(service, PRICE, max_new_tokens=4).json["outputs"]

    assert output["finish_reason"] == "length"
    found = [(each["kind"], each["detail"].partition(": ")[0]) for each in output["warnings"]]
    assert {("truncated", "pt to en"), ("lost", "pt to en"), ("truncated", "en to de")} <= set(found)


def test_characters_of_a_chain_count_for_each_variant_that_reads_them(store: Path, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "few", (Scope.GENERATE,), KeyLimits(characters_per_minute=40), None)[1]
    with running_service(tmp_path / "log", store=store, keys_file=tmp_path / "keys.json") as service:
        service.headers = {"Authorization": f"Bearer {key}"}
        statuses = [post(service, "x" * 21, target=target).status for target in ("de", "en")]
        fields = {"q": "x" * 21, "source": "pt", "target": "de"}
        statuses.append(service.post("/libretranslate/translate", fields).status)

    assert statuses == [413, 200, 413]


def test_a_chain_ends_at_its_deadline(service: Service) -> None:
    headers = {"X-Request-Deadline-Ms": "20"}

    refused = service.post("/translate", {"text": [SENTENCE] * 60, "source": "pt", "target": "de"}, headers)

    assert refused.status == 504


@pytest.mark.parametrize(
    ("query", "source", "reason"),
    [
        ("?variant=pten", "pt", "target: 'de' is not supported by translation/pten, which translates pt to en"),
        ("?max_bytes=1000000000", "pt", "no variant translates from pt to de; there is "),
        ("?runtime=ctranslate2", "pt", "quantized"),
        ("", "fr", "no variant translates from fr to de, and no two do by way of English; there is "),
        ("", "de-AT", "source and target are both de"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_chain_is_refused_in_one_line(
    service: Service, query: str, source: str, reason: str, stream: bool
) -> None:
    refused = post(service, SENTENCE, source, query=query, stream=stream)

    assert refused.status == 422
    assert reason in refused.problem.detail
    assert "\n" not in refused.problem.detail


def test_chains_are_listed_and_other_clients_chain_too(service: Service) -> None:
    api = LibreTranslateAPI(f"http://127.0.0.1:{service.port}/libretranslate")
    hugging_face = {"inputs": SENTENCE, "parameters": {"src_lang": "pt", "tgt_lang": "de"}}
    [german] = texts(post(service, SENTENCE))

    assert texts(post(service, SENTENCE, "pt-PT", "de-AT")) == [german]
    assert service.get("/variants").json["chained"] == {"pt": ["de"]}
    targets = {each["code"]: each["targets"] for each in api.languages()}
    assert targets == {"en": ["de", "pt"], "pt": ["de", "en"], "de": []}
    assert api.translate(SENTENCE, "auto", "de") == german
    assert service.post("/huggingface/translate", hugging_face).json == [{"translation_text": german}]


def counts_of_answers(service: Service) -> Counter[str]:
    """Returns how many requests each variant has answered."""
    return Counter({each["variant"]: each["count"] for each in service.get("/latency").json["latencies"]})


def test_a_request_that_the_second_variant_refuses_is_refused_before_the_first_one_works(service: Service) -> None:
    before = counts_of_answers(service)

    refused = post(service, SENTENCE, max_new_tokens=300)

    assert "this model has positions for 255" in refused.problem.detail
    assert counts_of_answers(service) == before


def test_metrics_count_each_variant_and_no_arm_of_an_experiment(service: Service) -> None:
    arms = [{"variant": "original", "weight": 1}, {"variant": "quantized", "weight": 1}]
    experiment = service.post("/experiments", {"task": "translation", "name": "a", "arms": arms}).json["id"]

    before = counts_of_answers(service)
    chained = post(service, SENTENCE)
    direct = post(service, "Hello.", "en", "de")
    after = counts_of_answers(service)
    rated = service.post("/feedback", {"response": chained.json["id"], "rating": 1})

    assert after["pten"] == before["pten"] + 1
    # The arm of the direct request is `quantized` or `original`.
    assert after["quantized"] - before["quantized"] in (1, 2)
    assert "experiment" not in chained.json
    assert direct.json["experiment"]["id"] == experiment
    assert rated.json["variant"] == "quantized"
    assert rated.json["experiment"] is None
    assert 'variant="pten"' in service.get("/metrics").text
    assert service.post(f"/experiments/{experiment}/stop", {}).status == 200
