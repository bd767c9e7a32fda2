"""One artifact that translates between many languages: each request chooses its pair, whatever else is served."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.command_line import compression
from tests.service.client import Service, eventually, texts
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
    hugging_face = service.post(
        "/huggingface/translate", {"inputs": TEXT, "parameters": {"src_lang": "eng_Latn", "tgt_lang": "zho_Hant"}}
    )
    libretranslate = service.post("/libretranslate/translate", {"q": TEXT, "source": "en", "target": "zh-Hant"})

    assert unknown.status == 422
    assert unknown.problem.detail == (
        "no variant translates to tlh; there is any of 202 languages to any of 202 languages (GET "
        "/libretranslate/languages lists them)"
    )
    assert len(languages) == 202
    assert "zh_Hant" in languages["en"]
    assert "en" not in languages["en"]
    assert libretranslate.status == 200, libretranslate.text
    assert hugging_face.status == 200, hugging_face.text
    assert hugging_face.json[0]["translation_text"] == libretranslate.json["translatedText"]
    tokens = service.get("/variants/translation/original").json["manifest"]["generation"]["language_tokens"]
    assert tokens["de"] == "deu_Latn"
    assert len(tokens) == 202


class Translated(NamedTuple):
    text: str
    variant: str
    is_in_experiment: bool


def test_it_serves_the_pair_of_a_setting_an_experiment_a_comparison_and_an_evaluation(
    store: Path, embedded: Store, tmp_path: Path
) -> None:
    shared = tmp_path / "artifacts"
    shutil.copytree(store, shared)
    compression("rename", "translation", "original", "many", "--store", shared)
    shutil.copytree(embedded.folder(Task.TRANSLATION, "quantized"), shared / "translation" / "quantized")

    def translate(service: Service, query: str = "", **body: object) -> Translated:
        answer = service.post(f"/translate{query}", {"text": TEXT, "num_beams": 2, **body})
        assert answer.status == 200, answer.text
        return Translated(answer.json["outputs"][0]["text"], answer.json["variant"], "experiment" in answer.json)

    with running_service(tmp_path / "log", store=shared, default_pair="en,fra_Latn") as service:
        # The pair of the setting.
        french = translate(service, "?variant=many", source="en", target="fr")
        unnamed = [translate(service), translate(service, "?max_bytes=1000000000")]
        pairs = [(each["languages"], each["is_default"]) for each in service.get("/variants").json["pairs"]]

        # An experiment beside a model of one pair.
        body = {"task": "translation", "name": "one", "arms": [{"variant": "many"}, {"variant": "quantized"}]}
        refused = service.post("/experiments", body | {"languages": ["en", "fr"]})
        experiment = service.post("/experiments", body)
        to_german = [translate(service, target="de") for _ in range(12)]
        without_target = translate(service)
        spanish = translate(service, target="es")

        # A comparison.
        compare = "/compare?task=translation&variant=many&variant=quantized"
        compared = service.post(compare, {"text": TEXT})
        compared_in_french = service.post(compare, {"text": TEXT, "target": "fr"})

        # An evaluation.
        evaluation = {"task": "translation", "variants": ["many"], "pairs": [{"source": TEXT, "target": "Bien."}]}
        posted = service.post("/evaluations", evaluation | {"languages": ["en", "fr"]})
        location = posted.headers["location"]
        eventually(lambda: service.get(location).json["status"], lambda status: status not in ("queued", "running"))
        [sample] = service.get(f"{location}/samples").json["samples"]
        plain = {"text": TEXT, "protect": False}
        [plain_german] = texts(service.post("/translate?variant=many", plain | {"target": "de"}))
        [plain_french] = texts(service.post("/translate?variant=many", plain | {"target": "fr"}))

    assert french.variant == "many"
    assert unnamed == [french, french]
    assert pairs == [(["en", "fr"], True), (["en", "de"], False)]
    assert refused.status == 422
    assert "quantized is en to de" in refused.problem.detail
    assert "many is any of 202 languages to any of 202 languages" in refused.problem.detail
    assert experiment.status == 201
    assert experiment.json["languages"] == ["en", "de"]
    assert {each.variant for each in to_german} == {"many", "quantized"}
    assert all(each.is_in_experiment for each in to_german)
    assert without_target == french
    assert spanish.variant == "many"
    assert not spanish.is_in_experiment
    assert compared.status == 200
    assert compared_in_french.status == 422
    assert sample["outputs"]["many"]["text"] == plain_french != plain_german
