"""A store with translators to Portuguese and to German: whatever is changed for one pair, the other stays as it is."""

import shutil
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
from tests.service.test_evaluations import wait_for_evaluation

TEXT = {"text": "Good morning.", "num_beams": 1}
# Translations of `TEXT`.
GERMAN = "Guten Morgen."
PORTUGUESE = "Bom dia."
# The arms of experiments between variants to German, and to Portuguese.
GERMAN_ARMS = [{"variant": "original"}, {"variant": "compact"}]
PORTUGUESE_ARMS = [{"variant": "portuguese"}, {"variant": "portuguese-compact"}]
# Pairs of an evaluation, by the language of their targets.
TARGETS = {
    "de": ("Die Kinder spielen im Garten.", "Bei dem Brand letzte Nacht wurde niemand verletzt."),
    "pt": ("As crianças brincam no jardim.", "Ninguém ficou ferido no incêndio de ontem à noite."),
}
SOURCES = ("The children are playing in the garden behind the house.", "Nobody was hurt in the fire last night.")
PAIRS = {
    language: [{"source": source, "target": target} for source, target in zip(SOURCES, targets, strict=True)]
    for language, targets in TARGETS.items()
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("pairs") / "log", store=embedded_store()) as running:
        yield running


@pytest.fixture
def experiments(service: Service) -> Iterator[Service]:
    """The service. The experiments that a test starts are stopped after the test."""
    yield service
    for each in service.get("/experiments").json["experiments"]:
        service.post(f"/experiments/{each['id']}/stop", {})


@pytest.fixture
def both(prepared: None, tmp_path: Path) -> Path:
    """A copy of some variants of both translators, to change or break."""
    left_out = shutil.ignore_patterns("summarization", "*pruned", "*distilled", ".tmp-*")
    shutil.copytree(embedded_store(), tmp_path / "artifacts", ignore=left_out)
    return tmp_path / "artifacts"


def translated(service: Service, query: str = "", unit: str = "someone", **body: Any) -> Any:
    """Returns the answer of `/translate` to `TEXT`. `query` and `body` name languages or limits."""
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
    def check_portuguese(service: Service) -> None:
        """Checks that requests to Portuguese, and those without a language, are as if there was no experiment."""
        streamed = service.post("/translate", {**TEXT, "stream": True}, {"X-Slimseq-Unit": "x"}).events[-1][1]
        without_language = [translated(service, unit=str(unit)) for unit in range(6)]
        to_portuguese = translated(service, target="pt")
        for answer in (streamed, *without_language, to_portuguese):
            assert text_of(answer) == PORTUGUESE
            assert answer["variant"] == "portuguese-quantized"
            assert "experiment" not in answer

    with running_service(log, store=both) as service:
        before = translated(service, "?target=de")
        check_portuguese(service)

        # The experiment runs.
        experiment = post_experiment(service, GERMAN_ARMS)
        path = f"/experiments/{experiment.json['id']}"
        check_portuguese(service)
        by_query = [translated(service, "?target=de", str(unit)) for unit in range(12)]
        by_body = [translated(service, unit=str(unit), source="en", target="de-AT") for unit in range(12)]

        # One of its arms is promoted.
        promoted = service.post(f"{path}/promote?arm=compact", {}).json
        check_portuguese(service)
        after = translated(service, "?target=de")
        shown = defaults_of(service)

    # The service starts again. Then the experiment is deleted.
    with running_service(log, store=both) as service:
        check_portuguese(service)
        restarted = translated(service, "?target=de")
        deleted = service.delete(path)
        check_portuguese(service)
        usual = translated(service, "?target=de")

    assert experiment.status == 201
    assert experiment.json["languages"] == ["en", "de"]
    assert before["variant"] == "quantized"
    for answer in (*by_query, *by_body):
        assert answer["variant"] in ("original", "compact")
        assert answer["experiment"] == {"id": promoted["id"], "arm": answer["variant"]}
    assert {each["variant"] for each in by_query} == {"original", "compact"}
    assert [each["variant"] for each in by_query] == [each["variant"] for each in by_body]
    assert promoted["promoted"] == "compact"
    assert after["variant"] == "compact"
    assert shown == {"en to de": "compact", "en to pt": "portuguese-quantized"}
    assert restarted["variant"] == "compact"
    assert deleted.status == 204
    assert usual["variant"] == "quantized"


def test_an_experiment_is_about_one_pair_of_languages(experiments: Service) -> None:
    mixed = post_experiment(experiments, [{"variant": "original"}, {"variant": "portuguese"}])
    other_pair = post_experiment(experiments, GERMAN_ARMS, languages=["en", "pt"])
    half_a_pair = post_experiment(experiments, GERMAN_ARMS, languages=["en"])

    assert mixed.status == 422
    assert "original is en to de, portuguese is en to pt" in mixed.problem.detail
    assert other_pair.status == 422
    assert "not all of en to pt: original is en to de, compact is en to de" in other_pair.problem.detail
    assert half_a_pair.status == 422
    assert "languages must have two codes" in half_a_pair.problem.detail


def test_each_pair_of_languages_and_summaries_may_have_one_experiment(experiments: Service) -> None:
    arms = [{"variant": "original"}, {"variant": "quantized"}]

    german = post_experiment(experiments, GERMAN_ARMS).json["id"]
    again = post_experiment(experiments, [{"variant": "quantized"}, {"variant": "compact"}])
    portuguese = post_experiment(experiments, PORTUGUESE_ARMS).json["id"]
    summaries = experiments.post("/experiments", {"task": "summarization", "name": "one", "arms": arms}).json["id"]
    without_language = translated(experiments)
    to_german = translated(experiments, "?target=de")
    summary = experiments.post("/summarize", TEXT).json
    listed = {each["id"]: each["languages"] for each in experiments.get("/experiments").json["experiments"]}

    assert again.status == 409
    assert german in again.problem.detail
    assert "en to de" in again.problem.detail
    assert without_language["experiment"]["id"] == portuguese
    assert to_german["experiment"]["id"] == german
    assert summary["experiment"]["id"] == summaries
    assert listed[german] == ["en", "de"]
    assert listed[portuguese] == ["en", "pt"]
    assert listed[summaries] == ["en"]


def test_a_setting_says_which_pair_answers_requests_without_languages(both: Path, log: Path) -> None:
    with running_service(log, store=both, default_pair="en,de") as service:
        german = translated(service)
        portuguese = translated(service, target="pt")
        limited = translated(service, "?min_retention=0.5")
        pairs = service.get("/variants").json["pairs"]
        frontend = service.get("/libretranslate/frontend/settings").json["language"]
        hugging_face = service.post("/huggingface/translate", {"inputs": "Good morning."}).json
        loaded = [each["variant"] for each in service.get("/memory").json["variants"]]

    assert text_of(german) == GERMAN
    assert german["variant"] == "quantized"
    assert loaded[0] == "quantized"
    assert text_of(portuguese) == PORTUGUESE
    assert not limited["variant"].startswith("portuguese")
    assert "retention" in limited["selection"]
    assert [(each["languages"], each["variant"], each["is_default"]) for each in pairs] == [
        (["en", "de"], "quantized", True),
        (["en", "pt"], "portuguese-quantized", False),
    ]
    assert frontend["target"] == {"code": "de", "name": "German"}
    assert hugging_face == [{"translation_text": GERMAN}]


def test_a_default_variant_of_one_pair_leaves_the_default_pair_and_promotions_of_other_pairs(
    both: Path, log: Path
) -> None:
    with running_service(log, store=both, default_pair="en,pt", default_translation="compact") as service:
        without_language = translated(service)
        german = translated(service, target="de")
        german_experiment = post_experiment(service, GERMAN_ARMS).json["id"]
        refused = service.post(f"/experiments/{german_experiment}/promote?arm=original", {})
        portuguese_experiment = post_experiment(service, PORTUGUESE_ARMS).json["id"]
        promoted = service.post(f"/experiments/{portuguese_experiment}/promote?arm=portuguese-compact", {})
        after_promotion = translated(service)

    assert text_of(without_language) == PORTUGUESE
    assert german["variant"] == "compact"
    assert refused.status == 409
    assert "SLIMSEQ_DEFAULT_TRANSLATION names compact" in refused.problem.detail
    assert promoted.status == 200
    assert after_promotion["variant"] == "portuguese-compact"


def test_without_a_default_pair_the_pair_of_the_default_variant_answers(both: Path, log: Path) -> None:
    with running_service(log, store=both, default_translation="compact") as service:
        answer = translated(service)

    assert answer["variant"] == "compact"


def test_a_default_pair_that_no_variant_translates_ends_the_start_with_one_line(both: Path) -> None:
    unknown = ended_start(store=both, default_pair="en,fr")
    malformed = ended_start(store=both, default_pair="pt")

    assert unknown.returncode == 1
    assert "from en to fr" in unknown.stderr
    assert "en to de, en to pt" in unknown.stderr
    assert unknown.stderr.count("\n") == 1
    assert malformed.returncode == 1
    assert "SOURCE,TARGET" in malformed.stderr


def test_a_default_that_cannot_be_loaded_leaves_its_requests_to_its_pair_and_to_no_other_language(
    both: Path, log: Path
) -> None:
    for name in ("portuguese", "portuguese-quantized", "portuguese-compact"):
        flip_bytes(both / "translation" / name / "tokenizer.json")
    with running_service(log, store=both) as service:
        without_language = service.post("/translate", TEXT)
        german = translated(service, "?target=de")
        ready = service.get("/readyz")
        limited = service.post("/translate?max_bytes=1000000000", TEXT)

    assert without_language.status == 503
    assert "portuguese" in without_language.problem.detail
    assert limited.status == 404
    assert "quantized with" not in limited.problem.detail
    assert text_of(german) == GERMAN
    assert ready.status == 200


def test_the_variants_are_listed_with_their_pairs_and_the_default_of_each(service: Service) -> None:
    pairs = service.get("/variants").json["pairs"]

    assert [(each["languages"], each["variant"], each["is_default"]) for each in pairs] == [
        (["en"], "quantized", True),
        (["en", "pt"], "portuguese-quantized", True),
        (["en", "de"], "quantized", False),
    ]
    assert [each["task"] for each in pairs] == ["summarization", "translation", "translation"]
    assert {each["default_reason"] for each in pairs} == {"usual default"}
    assert defaults_of(service) == {"en to pt": "portuguese-quantized", "en to de": "quantized"}


@pytest.mark.parametrize("query", ["?target=fr", "?target=fr&min_retention=0.9", ""])
def test_a_language_that_no_variant_translates_is_refused_with_each_pair_once(service: Service, query: str) -> None:
    body = TEXT if query else TEXT | {"target": "fr"}

    refused = service.post(f"/translate{query}", body)

    assert refused.status == 422
    assert refused.problem.detail == "no variant translates to fr; there is en to pt, en to de"


def test_variants_of_two_pairs_are_not_compared(service: Service) -> None:
    def compare(*names: str, **more: Any) -> Response:
        variants = "&".join(f"variant={name}" for name in names)
        return service.post(f"/compare?task=translation&{variants}", TEXT | more)

    two_pairs = compare("quantized", "portuguese")
    with_target = compare("quantized", "portuguese", target="de")
    other_target = compare("quantized", "original", target="pt")
    same_pair = compare("portuguese-quantized", "portuguese")

    detail = "the variants are not of the same languages: quantized is en to de, portuguese is en to pt"
    assert two_pairs.status == 422
    assert two_pairs.problem.detail == detail
    assert with_target.status == 422
    detail = "the variants are not all of target de: quantized is en to de, portuguese"
    assert with_target.problem.detail.startswith(detail)
    assert other_target.status == 422
    assert same_pair.status == 200
    assert "agreement" in same_pair.json["results"][0]


def post_evaluation(service: Service, variants: list[str], **more: Any) -> Response:
    return service.post("/evaluations", {"task": "translation", "variants": variants, **more})


def test_data_sets_say_their_pair_and_variants_of_others_are_refused(service: Service) -> None:
    german = post_evaluation(service, ["portuguese-quantized"], dataset="sample", samples=2)
    portuguese = post_evaluation(service, ["quantized"], dataset="sample-pt", samples=2)
    mixed = post_evaluation(service, ["quantized", "portuguese"], dataset="sample", samples=2)
    stated = post_evaluation(service, ["quantized"], dataset="sample", samples=2, languages=["en", "pt"])

    assert [each.status for each in (german, portuguese, mixed, stated)] == [422] * 4
    assert german.problem.detail == "dataset: sample is en to de, and portuguese-quantized is en to pt"
    assert portuguese.problem.detail == "dataset: sample-pt is en to pt, and quantized is en to de"
    assert mixed.problem.detail == "dataset: sample is en to de, and portuguese is en to pt"
    assert "the data set sample is en to de" in stated.problem.detail


def test_variants_are_evaluated_on_the_data_set_of_their_pair(service: Service) -> None:
    datasets = [(each["name"], each["languages"]) for each in service.get("/info").json["datasets"]]
    posted = post_evaluation(service, ["portuguese-quantized"], dataset="sample-pt", samples=8)
    job = wait_for_evaluation(service, posted.headers["location"])

    assert ("sample", ["en", "de"]) in datasets
    assert ("sample-pt", ["en", "pt"]) in datasets
    assert job["status"] == "succeeded"
    assert job["languages"] == ["en", "pt"]
    scores = {each["metric"]: each["value"] for each in job["results"][0]["metrics"]}
    # Translations into German would have a chrF of 15.
    assert scores["chrf"] > 50


# An upload of a file to evaluate a variant to Portuguese.
UPLOAD_FIELDS = (("task", "translation"), ("variants", "portuguese"))
UPLOAD_FILE = ("pairs.tsv", b"Good morning.\tBom dia.\n")


def upload(service: Service, *languages: str) -> Response:
    fields = (*UPLOAD_FIELDS, *(("languages", language) for language in languages))
    return service.upload("/evaluations/upload", fields, UPLOAD_FILE)


def test_pairs_and_files_of_another_pair_of_languages_are_refused(service: Service) -> None:
    recognized = post_evaluation(service, ["portuguese"], pairs=PAIRS["de"])
    stated = post_evaluation(service, ["portuguese"], pairs=PAIRS["de"], languages=["en", "de"])
    mixed = post_evaluation(service, ["portuguese", "original"], pairs=PAIRS["pt"])
    uploaded = upload(service, "en", "de")
    half_a_pair = upload(service, "en")

    assert [each.status for each in (recognized, stated, mixed, uploaded, half_a_pair)] == [422] * 5
    assert "each target seems to be in German, and the variants are en to pt" in recognized.problem.detail
    assert stated.problem.detail == "languages: the pairs are en to de, and portuguese is en to pt"
    assert "portuguese is en to pt, original is en to de" in mixed.problem.detail
    assert uploaded.problem.detail == stated.problem.detail
    assert "languages must have two codes" in half_a_pair.problem.detail


def test_pairs_and_files_have_the_languages_that_they_state_or_those_of_the_variants(service: Service) -> None:
    posted = [
        post_evaluation(service, ["portuguese"], pairs=PAIRS["pt"]),
        # The targets look German. Stated languages are believed.
        post_evaluation(service, ["portuguese"], pairs=PAIRS["de"], languages=["en", "pt"]),
        upload(service, "en", "pt-BR"),
    ]
    jobs = [wait_for_evaluation(service, each.headers["location"]) for each in posted]

    assert [job["status"] for job in jobs] == ["succeeded"] * 3
    assert [job["languages"] for job in jobs] == [["en", "pt"], ["en", "pt"], ["en", "pt-BR"]]


@needs_torch
def test_an_imported_model_comes_before_the_demonstrations_of_its_pair(both: Path, log: Path) -> None:
    from slimseq.compression.context import Context
    from slimseq.compression.importing.importing import ImportOptions, import_model

    demonstration = embedded_store() / "translation" / "original"
    with running_service(log, store=both) as service:
        defaults_before = defaults_of(service)
        answer_before = translated(service)
    # The demonstration takes the part of anybody's model. The new name is the last one in the alphabet.
    options = ImportOptions(task=Task.TRANSLATION, variant="zz-german", languages=["en", "de"])
    import_model(Context(Store(both)), str(demonstration), options)

    with running_service(log, store=both) as service:
        defaults_after = defaults_of(service)
        answer_after = translated(service)

    assert defaults_before == {"en to de": "quantized", "en to pt": "portuguese-quantized"}
    assert answer_before["variant"] == "portuguese-quantized"
    assert defaults_after == {"en to de": "zz-german", "en to pt": "portuguese-quantized"}
    assert answer_after["variant"] == "zz-german"
    assert text_of(answer_after) == GERMAN
