"""A store with translators to Portuguese and to German: whatever is changed for one pair, the other stays as it is."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slimseq.models_store.manifest import Task
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.damage import flip_bytes
from tests.service.client import Response, Service
from tests.service.conftest import ended_start, needs_torch, running_service

TEXT = {"text": "Good morning.", "num_beams": 1}
GERMAN, PORTUGUESE = "Guten Morgen.", "Bom dia."
# The arms of an experiment between variants to German.
GERMAN_ARMS = [{"variant": "original"}, {"variant": "compact"}]
PAIRS = {
    "de": [
        {
            "source": "The children are playing in the garden behind the house.",
            "target": "Die Kinder spielen im Garten.",
        },
        {
            "source": "Nobody was hurt in the fire last night.",
            "target": "Bei dem Brand letzte Nacht wurde niemand verletzt.",
        },
    ],
    "pt": [
        {
            "source": "The children are playing in the garden behind the house.",
            "target": "As crianças brincam no jardim.",
        },
        {
            "source": "Nobody was hurt in the fire last night.",
            "target": "Ninguém ficou ferido no incêndio de ontem à noite.",
        },
    ],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("pairs") / "log", store=embedded_store()) as running:
        yield running


@pytest.fixture
def both(prepared: None, tmp_path: Path) -> Path:
    """A copy of some variants of both translators, to change or break."""
    left_out = shutil.ignore_patterns("summarization", "*pruned", "*distilled", ".tmp-*")
    shutil.copytree(embedded_store(), tmp_path / "artifacts", ignore=left_out)
    return tmp_path / "artifacts"


def translated(service: Service, query: str = "", unit: str = "someone", **body: Any) -> Any:
    answer = service.post(f"/translate{query}", TEXT | body, {"X-Slimseq-Unit": unit})
    assert answer.status == 200, answer.text
    return answer.json


def text_of(answer: Any) -> str:
    return str(answer["outputs"][0]["text"])


def post_experiment(service: Service, arms: list[dict[str, Any]], **more: Any) -> Response:
    return service.post("/experiments", {"task": "translation", "name": "one", "arms": arms, **more})


def defaults_of(service: Service) -> dict[str, str]:
    """The default variant of each pair of languages."""
    found = [each for each in service.get("/variants").json["variants"] if each["task"] == "translation"]
    return {" to ".join(each["languages"]): each["variant"] for each in found if each["default"]}


def test_an_experiment_and_a_promotion_touch_the_requests_of_their_pair_alone(both: Path, log: Path) -> None:
    def unnamed(service: Service) -> list[Any]:
        streamed = service.post("/translate", {**TEXT, "stream": True}, {"X-Slimseq-Unit": "x"}).events[-1][1]
        return [streamed, *(translated(service, unit=str(unit)) for unit in range(6)), translated(service, target="pt")]

    def check_unnamed(service: Service) -> None:
        for answer in unnamed(service):
            assert text_of(answer) == PORTUGUESE
            assert answer["variant"] == "portuguese-quantized"
            assert "experiment" not in answer

    with running_service(log, store=both) as service:
        before = translated(service, "?target=de")
        check_unnamed(service)
        experiment = post_experiment(service, GERMAN_ARMS)
        path = f"/experiments/{experiment.json['id']}"

        check_unnamed(service)
        german = [translated(service, "?target=de", str(unit)) for unit in range(12)]
        german += [translated(service, unit=str(unit), source="en", target="de-AT") for unit in range(12)]

        promoted = service.post(f"{path}/promote?arm=compact", {}).json
        check_unnamed(service)
        after = translated(service, "?target=de")
        shown = defaults_of(service)

    with running_service(log, store=both) as service:
        check_unnamed(service)
        restarted = translated(service, "?target=de")
        deleted = service.delete(path).status
        check_unnamed(service)
        usual = translated(service, "?target=de")

    assert experiment.status == 201
    assert experiment.json["languages"] == ["en", "de"]
    assert before["variant"] == "quantized"
    assert {each["variant"] for each in german} == {"original", "compact"}
    assert all(each["experiment"] == {"id": promoted["id"], "arm": each["variant"]} for each in german)
    assert [each["variant"] for each in german[:12]] == [each["variant"] for each in german[12:]]
    assert promoted["promoted"] == "compact"
    assert after["variant"] == restarted["variant"] == "compact"
    assert shown == {"en to de": "compact", "en to pt": "portuguese-quantized"}
    assert (deleted, usual["variant"]) == (204, "quantized")


def test_each_pair_may_have_an_experiment_and_arms_of_two_pairs_have_none(service: Service) -> None:
    mixed = post_experiment(service, [{"variant": "original"}, {"variant": "portuguese"}])
    wrong = post_experiment(service, GERMAN_ARMS, languages=["en", "pt"])
    odd = post_experiment(service, GERMAN_ARMS, languages=["en"])
    german = post_experiment(service, GERMAN_ARMS)
    again = post_experiment(service, [{"variant": "quantized"}, {"variant": "compact"}])
    portuguese = post_experiment(service, [{"variant": "portuguese"}, {"variant": "portuguese-compact"}])
    arms = [{"variant": "original"}, {"variant": "quantized"}]
    summaries = service.post("/experiments", {"task": "summarization", "name": "one", "arms": arms})
    running = [each.json["id"] for each in (german, portuguese, summaries)]
    answers = [translated(service), translated(service, "?target=de"), service.post("/summarize", TEXT).json]
    listed = {each["id"]: each["languages"] for each in service.get("/experiments").json["experiments"]}
    for each in running:
        service.post(f"/experiments/{each}/stop", {})

    assert mixed.status == wrong.status == odd.status == 422
    assert "original is en to de, portuguese is en to pt" in mixed.problem.detail
    assert "not all of en to pt: original is en to de, compact is en to de" in wrong.problem.detail
    assert "languages must have two codes" in odd.problem.detail
    assert again.status == 409
    assert running[0] in again.problem.detail
    assert "en to de" in again.problem.detail
    assert [each["experiment"]["id"] for each in answers] == [running[1], running[0], running[2]]
    assert [listed[each] for each in running] == [["en", "de"], ["en", "pt"], ["en"]]


def test_which_pair_answers_without_languages_is_a_setting_of_its_own(both: Path, tmp_path: Path) -> None:
    with running_service(tmp_path / "pair", store=both, default_pair="en,de") as service:
        german, portuguese = translated(service), translated(service, target="pt")
        limited = translated(service, "?min_retention=0.5")
        pairs = service.get("/variants").json["pairs"]
        frontend = service.get("/libretranslate/frontend/settings").json["language"]
        hugging = service.post("/huggingface/translate", {"inputs": "Good morning."}).json
        loaded = [each["variant"] for each in service.get("/memory").json["variants"]]
    # The default of German is another one; the pair that answers without languages is not.
    with running_service(tmp_path / "both", store=both, default_pair="en,pt", default_translation="compact") as service:
        still, named = translated(service), translated(service, target="de")
        refused = service.post(
            f"/experiments/{post_experiment(service, GERMAN_ARMS).json['id']}/promote?arm=original", {}
        )
        arms = [{"variant": "portuguese"}, {"variant": "portuguese-compact"}]
        path = f"/experiments/{post_experiment(service, arms).json['id']}"
        promoted = service.post(f"{path}/promote?arm=portuguese-compact", {})
        now = translated(service)
    with running_service(tmp_path / "variant", store=both, default_translation="compact") as service:
        by_variant = translated(service)
    ended = ended_start(store=both, default_pair="en,fr")
    malformed = ended_start(store=both, default_pair="pt")

    assert (text_of(german), german["variant"]) == (GERMAN, "quantized")
    assert loaded[0] == "quantized"
    assert text_of(portuguese) == PORTUGUESE
    assert not limited["variant"].startswith("portuguese")
    assert "retention" in limited["selection"]
    assert [(each["languages"], each["variant"], each["is_default"]) for each in pairs] == [
        (["en", "de"], "quantized", True), (["en", "pt"], "portuguese-quantized", False),
    ]  # fmt: skip
    assert frontend["target"] == {"code": "de", "name": "German"}
    assert hugging == [{"translation_text": GERMAN}]
    assert (text_of(still), named["variant"]) == (PORTUGUESE, "compact")
    assert refused.status == 409
    assert "SLIMSEQ_DEFAULT_TRANSLATION names compact" in refused.problem.detail
    assert promoted.status == 200
    assert now["variant"] == "portuguese-compact"
    assert by_variant["variant"] == "compact"
    assert ended.returncode == malformed.returncode == 1
    assert "from en to fr" in ended.stderr
    assert "en to de, en to pt" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "SOURCE,TARGET" in malformed.stderr


def test_a_default_that_cannot_be_loaded_leaves_its_requests_to_its_pair_and_to_no_other_language(
    both: Path, log: Path
) -> None:
    for name in ("portuguese", "portuguese-quantized", "portuguese-compact"):
        flip_bytes(both / "translation" / name / "tokenizer.json")
    with running_service(log, store=both) as service:
        unnamed = service.post("/translate", TEXT)
        german, ready = translated(service, "?target=de"), service.get("/readyz")
        limited = service.post("/translate?max_bytes=1000000000", TEXT)

    assert unnamed.status == 503
    assert "portuguese" in unnamed.problem.detail
    assert limited.status == 404
    assert "quantized with" not in limited.problem.detail
    assert text_of(german) == GERMAN
    assert ready.status == 200


def test_the_variants_are_listed_with_their_pairs_and_the_default_of_each(service: Service) -> None:
    listed = service.get("/variants").json

    assert listed["pairs"] == [
        {
            "task": "summarization",
            "languages": ["en"],
            "variant": "quantized",
            "default_reason": "usual default",
            "is_default": True,
        },
        {
            "task": "translation",
            "languages": ["en", "pt"],
            "variant": "portuguese-quantized",
            "default_reason": "usual default",
            "is_default": True,
        },
        {
            "task": "translation",
            "languages": ["en", "de"],
            "variant": "quantized",
            "default_reason": "usual default",
            "is_default": False,
        },
    ]
    assert defaults_of(service) == {"en to pt": "portuguese-quantized", "en to de": "quantized"}


@pytest.mark.parametrize("query", ["?target=fr", "?target=fr&min_retention=0.9", ""])
def test_a_language_that_no_variant_translates_is_refused_with_each_pair_once(service: Service, query: str) -> None:
    body = TEXT if query else TEXT | {"target": "fr"}

    refused = service.post(f"/translate{query}", body)

    assert refused.status == 422
    assert refused.problem.detail == "no variant translates to fr; there is en to pt, en to de"


def test_variants_of_two_pairs_are_not_compared(service: Service) -> None:
    def compared(*names: str, **more: Any) -> Response:
        return service.post(f"/compare?task=translation&{'&'.join(f'variant={name}' for name in names)}", TEXT | more)

    refused, named = compared("quantized", "portuguese"), compared("quantized", "portuguese", target="de")
    other = compared("quantized", "original", target="pt")
    same = compared("portuguese-quantized", "portuguese")

    assert [each.status for each in (refused, named, other, same)] == [422, 422, 422, 200]
    said = "the variants are not of the same languages: quantized is en to de, portuguese is en to pt"
    assert refused.problem.detail == said
    assert named.problem.detail.startswith("the variants are not all of target de: quantized is en to de, portuguese")
    assert "agreement" in same.json["results"][0]


def post_evaluation(service: Service, variants: list[str], **more: Any) -> Response:
    return service.post("/evaluations", {"task": "translation", "variants": variants, **more})


def wait_for_evaluation(service: Service, accepted: Response, seconds: float = 120) -> Any:
    """Waits for the end of an evaluation, and returns it."""
    assert accepted.status == 202, accepted.text
    deadline = time.monotonic() + seconds
    while (job := service.get(accepted.headers["location"]).json)["status"] not in ("succeeded", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return job


def test_data_sets_say_their_pair_and_variants_of_others_are_refused(service: Service) -> None:
    datasets = [(each["name"], each["languages"]) for each in service.get("/info").json["datasets"]]
    german = post_evaluation(service, ["portuguese-quantized"], dataset="sample", samples=2)
    portuguese = post_evaluation(service, ["quantized"], dataset="sample-pt", samples=2)
    mixed = post_evaluation(service, ["quantized", "portuguese"], dataset="sample", samples=2)
    other = post_evaluation(service, ["quantized"], dataset="sample", samples=2, languages=["en", "pt"])
    job = wait_for_evaluation(
        service, post_evaluation(service, ["portuguese-quantized"], dataset="sample-pt", samples=8)
    )

    assert ("sample", ["en", "de"]) in datasets
    assert ("sample-pt", ["en", "pt"]) in datasets
    assert [each.status for each in (german, portuguese, mixed, other)] == [422] * 4
    assert german.problem.detail == "dataset: sample is en to de, and portuguese-quantized is en to pt"
    assert portuguese.problem.detail == "dataset: sample-pt is en to pt, and quantized is en to de"
    assert mixed.problem.detail == "dataset: sample is en to de, and portuguese is en to pt"
    assert "the data set sample is en to de" in other.problem.detail
    assert job["status"] == "succeeded"
    assert job["languages"] == ["en", "pt"]
    scores = {each["metric"]: each["value"] for each in job["results"][0]["metrics"]}
    # Translations into German would have a chrF of 15.
    assert scores["chrf"] > 50


def test_pairs_and_files_may_say_their_languages_and_are_looked_at_where_they_do_not(service: Service) -> None:
    fields = (("task", "translation"), ("variants", "portuguese"))
    file = ("pairs.tsv", b"Good morning.\tBom dia.\n")
    wrong = post_evaluation(service, ["portuguese"], pairs=PAIRS["de"])
    stated = post_evaluation(service, ["portuguese"], pairs=PAIRS["de"], languages=["en", "de"])
    mixed = post_evaluation(service, ["portuguese", "original"], pairs=PAIRS["pt"])
    uploaded = service.upload("/evaluations/upload", (*fields, ("languages", "en"), ("languages", "de")), file)
    one = service.upload("/evaluations/upload", (*fields, ("languages", "en")), file)
    jobs = [
        wait_for_evaluation(service, post_evaluation(service, ["portuguese"], pairs=PAIRS["pt"])),
        # Whoever states the languages knows better.
        wait_for_evaluation(
            service, post_evaluation(service, ["portuguese"], pairs=PAIRS["de"], languages=["en", "pt"])
        ),
        wait_for_evaluation(
            service, service.upload("/evaluations/upload", (*fields, ("languages", "en"), ("languages", "pt-BR")), file)
        ),
    ]

    assert [each.status for each in (wrong, stated, mixed, uploaded, one)] == [422] * 5
    assert "each target seems to be in German, and the variants are en to pt" in wrong.problem.detail
    assert stated.problem.detail == "languages: the pairs are en to de, and portuguese is en to pt"
    assert "portuguese is en to pt, original is en to de" in mixed.problem.detail
    assert uploaded.problem.detail == stated.problem.detail
    assert "languages must have two codes" in one.problem.detail
    assert [each["languages"] for each in jobs] == [["en", "pt"], ["en", "pt"], ["en", "pt-BR"]]
    assert {each["status"] for each in jobs} == {"succeeded"}


@needs_torch
def test_a_demonstration_that_was_copied_never_outranks_a_model_that_was_imported(both: Path, log: Path) -> None:
    from slimseq.compression.context import Context
    from slimseq.compression.importing.importing import ImportOptions, import_model

    demonstration = embedded_store() / "translation" / "original"
    with running_service(log, store=both) as service:
        before = defaults_of(service), translated(service)["variant"]
    # It stands for anybody's model. Its name comes after those of the demonstrations.
    options = ImportOptions(task=Task.TRANSLATION, variant="zz-german", languages=["en", "de"])
    import_model(Context(Store(both)), str(demonstration), options)

    with running_service(log, store=both) as service:
        after, unnamed = defaults_of(service), translated(service)

    assert before == ({"en to de": "quantized", "en to pt": "portuguese-quantized"}, "portuguese-quantized")
    assert after == {"en to de": "zz-german", "en to pt": "portuguese-quantized"}
    assert (unnamed["variant"], text_of(unnamed)) == ("zz-german", GERMAN)
