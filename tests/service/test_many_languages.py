"""One artifact that translates between many languages: each request chooses its pair, whatever else is served."""

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.service.client import Service
from tests.service.conftest import needs_torch, running_service

pytestmark = needs_torch
TEXT = "We walked along the river until it was dark."
TARGETS = ["de", "fra_Latn", "spa_Latn", "zh-Hant", "azj_Latn", "pt"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one tiny model of random weights that has the 202 languages of NLLB."""
    from tests.compression.language_models import m2m100_folder

    folder = tmp_path_factory.mktemp("nllb")
    model = m2m100_folder(folder / "model")
    words = ("--task", "translation", "--language", "en", "--language", "de", "--max-new-tokens", "12")
    done = compression("import", model, *words, "--max-input-tokens", "38", "--store", folder / "store")
    assert done.code == 0, done.error
    return folder / "store"


@pytest.fixture(scope="module")
def service(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service") / "log", store=store) as running:
        yield running


def test_each_request_chooses_its_pair_beside_others(service: Service) -> None:
    def translate(target: str) -> str:
        answer = service.post("/translate", {"text": TEXT, "target": target, "num_beams": 2})
        assert answer.status == 200, answer.text
        return str(answer.json["outputs"][0]["text"])

    alone = [translate(target) for target in TARGETS]
    with ThreadPoolExecutor(len(TARGETS)) as threads:
        together = list(threads.map(translate, TARGETS * 3))

    assert together == alone * 3
    assert len(set(alone)) > 1
    default = service.post("/translate", {"text": TEXT, "num_beams": 2}).json["outputs"][0]["text"]
    assert default == alone[0]


def test_the_list_of_variants_says_from_and_into_which_languages_each_translates(service: Service) -> None:
    [variant] = service.get("/variants").json["variants"]

    assert variant["languages"] == [variant["sources"][0], variant["targets"][0]] == ["en", "de"]
    assert len(variant["sources"]) == len(variant["targets"]) == 202
    assert "fr" in variant["targets"]


def test_languages_are_listed_and_an_unknown_one_is_named(service: Service) -> None:
    unknown = service.post("/translate", {"text": TEXT, "target": "tlh"})
    languages = {each["code"]: each["targets"] for each in service.get("/libretranslate/languages").json}
    other = service.post(
        "/huggingface/translate", {"inputs": TEXT, "parameters": {"src_lang": "eng_Latn", "tgt_lang": "zho_Hant"}}
    )
    libre = service.post("/libretranslate/translate", {"q": TEXT, "source": "en", "target": "zh-Hant"})

    assert unknown.status == 422
    assert unknown.problem.detail == (
        "no variant translates to tlh; there is any of 202 languages to any of 202 languages (GET "
        "/libretranslate/languages lists them)"
    )
    assert len(languages) == 202
    assert "zh_Hant" in languages["en"]
    assert "en" not in languages["en"]
    assert libre.status == other.status == 200, (libre.text, other.text)
    assert other.json[0]["translation_text"] == libre.json["translatedText"]
    tokens = service.get("/variants/translation/original").json["manifest"]["generation"]["language_tokens"]
    assert tokens["de"] == "deu_Latn"
    assert len(tokens) == 202


def test_it_serves_the_pair_of_a_setting_an_experiment_a_comparison_and_an_evaluation(
    store: Path, embedded: Store, tmp_path: Path
) -> None:
    shared, german = tmp_path / "artifacts", embedded.folder(Task.TRANSLATION, "quantized")
    shutil.copytree(store, shared)
    compression("rename", "translation", "original", "many", "--store", shared)
    shutil.copytree(german, shared / "translation" / "quantized")

    def translate(service: Service, query: str = "", **body: object) -> Any:
        answer = service.post(f"/translate{query}", {"text": TEXT, "num_beams": 2, **body})
        assert answer.status == 200, answer.text
        return answer.json["outputs"][0]["text"], answer.json["variant"], "experiment" in answer.json

    with running_service(tmp_path / "log", store=shared, default_pair="en,fra_Latn") as service:
        french = translate(service, "?variant=many", source="en", target="fr")
        unnamed = translate(service), translate(service, "?max_bytes=1000000000")
        pairs = [(each["languages"], each["is_default"]) for each in service.get("/variants").json["pairs"]]
        body = {"task": "translation", "name": "one", "arms": [{"variant": "many"}, {"variant": "quantized"}]}
        refused = service.post("/experiments", body | {"languages": ["en", "fr"]})
        experiment = service.post("/experiments", body)
        arms = {translate(service, target="de")[1:] for _ in range(12)}
        outside = translate(service), translate(service, target="es")
        compared = service.post("/compare?task=translation&variant=many&variant=quantized", {"text": TEXT})
        in_french = service.post(
            "/compare?task=translation&variant=many&variant=quantized", {"text": TEXT, "target": "fr"}
        )
        evaluation = {"task": "translation", "variants": ["many"], "pairs": [{"source": TEXT, "target": "Bien."}]}
        posted = service.post("/evaluations", evaluation | {"languages": ["en", "fr"]})
        while service.get(posted.headers["location"]).json["status"] in ("queued", "running"):
            time.sleep(0.1)
        [sample] = service.get(f"{posted.headers['location']}/samples").json["samples"]
        plain = {"text": TEXT, "protect": False}
        by_target = {
            target: service.post("/translate?variant=many", plain | {"target": target}).json["outputs"][0]["text"]
            for target in ("de", "fr")
        }

    assert french[1] == "many"
    assert unnamed == (french, french)
    assert pairs == [(["en", "fr"], True), (["en", "de"], False)]
    assert refused.status == 422
    assert "quantized is en to de" in refused.problem.detail
    assert "many is any of 202 languages to any of 202 languages" in refused.problem.detail
    assert experiment.status == 201
    assert experiment.json["languages"] == ["en", "de"]
    assert arms == {("many", True), ("quantized", True)}
    assert outside[0] == french
    assert outside[1][1:] == ("many", False)
    assert compared.status == 200
    assert in_french.status == 422
    assert sample["outputs"]["many"]["text"] == by_target["fr"] != by_target["de"]
