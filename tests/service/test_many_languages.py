"""One artifact that translates between many languages: each request chooses its pair, whatever else is served."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.command_line import compression
from tests.service.client import Service
from tests.service.conftest import needs_torch, running_service

pytestmark = needs_torch
TEXT = "We walked along the river until it was dark."
TARGETS = ["de", "fra_Latn", "spa_Latn", "zh-Hant", "azj_Latn", "pt"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    from tests.compression.language_models import m2m100_folder

    folder = tmp_path_factory.mktemp("nllb")
    model = m2m100_folder(folder / "model")
    words = ("--task", "translation", "--language", "en", "--language", "de", "--max-new-tokens", "12")
    done = compression("import", model, *words, "--max-input-tokens", "38", "--store", folder / "store")
    assert done.code == 0, done.error
    with running_service(folder / "log", store=folder / "store") as running:
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


def test_languages_are_listed_and_an_unknown_one_is_named(service: Service) -> None:
    unknown = service.post("/translate", {"text": TEXT, "target": "tlh"})
    languages = {each["code"]: each["targets"] for each in service.get("/libretranslate/languages").json}
    other = service.post(
        "/huggingface/translate", {"inputs": TEXT, "parameters": {"src_lang": "eng_Latn", "tgt_lang": "zho_Hant"}}
    )
    libre = service.post("/libretranslate/translate", {"q": TEXT, "source": "en", "target": "zh-Hant"})

    assert unknown.status == 422 and "'tlh' is not supported by translation/original" in unknown.text
    assert len(languages) == 202 and "zh_Hant" in languages["en"] and "en" not in languages["en"]
    assert libre.status == other.status == 200, (libre.text, other.text)
    assert other.json[0]["translation_text"] == libre.json["translatedText"]
    tokens = service.get("/variants/translation/original").json["manifest"]["generation"]["language_tokens"]
    assert tokens["de"] == "deu_Latn" and len(tokens) == 202
