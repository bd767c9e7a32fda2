"""Translators of two pairs of languages: a pair is chosen first, and only its variants are compared."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import running_service
from tests.web.conftest import Visit, Visitor

PORTUGUESE = ["portuguese", "portuguese-compact", "portuguese-distilled", "portuguese-pruned", "portuguese-quantized"]
GERMAN = ["original", "compact", "distilled", "pruned", "quantized"]
# Languages of the model that `with_many_languages` adds.
MANY = ["de", "pt", "fr", "zh_Hant"]


@pytest.fixture(scope="module")
def service(chromium: str, embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serves all embedded models. Tests of other files have one translator."""
    with running_service(tmp_path_factory.mktemp("languages") / "log", store=embedded_store()) as running:
        yield running


def offered_variants(visitor: Visitor) -> list[str]:
    """The names of the variants that may be ticked."""
    return [name.strip() for name in visitor.page.locator(".option > span:first-of-type").all_inner_texts()]


def with_many_languages(service: Service) -> dict[str, Any]:
    """The list of variants, with a model that translates English into four languages."""
    listed: dict[str, Any] = service.get("/variants").json
    model = next(each for each in listed["variants"] if each["variant"] == "original" and each["task"] == "translation")
    reference = {"variant": "many", "digest": "sha256:0", "is_stored": True}
    many = model | {"variant": "many", "digest": "sha256:0", "reference": reference, "default": False}
    listed["variants"].append(many | {"languages": ["en", "de"], "sources": ["en", *MANY], "targets": [*MANY, "en"]})
    return listed


@pytest.mark.parametrize("view", ["", "evaluations"])
def test_only_variants_of_one_pair_can_be_ticked_together(visitor: Visitor, view: str) -> None:
    page = visitor.open(view)
    first = offered_variants(visitor)

    page.get_by_label("To", exact=True).select_option(label="German")
    second = offered_variants(visitor)
    for box in page.get_by_role("checkbox").all():
        if box.is_enabled():
            box.check()
    ticked = page.locator(".option:has(input:checked) > span:first-of-type").all_inner_texts()

    assert first == PORTUGUESE
    assert second == GERMAN
    assert ticked
    assert set(ticked) <= set(GERMAN)


def test_the_pair_that_answers_without_languages_is_chosen_at_first(visitor: Visitor, service: Service) -> None:
    answered = service.post("/translate", {"text": "Good morning."}).json["variant"]
    page = visitor.open()

    pairs = [each for each in service.get("/variants").json["pairs"] if each["task"] == "translation"]
    [usual] = [each["languages"] for each in pairs if each["is_default"]]
    assert answered in offered_variants(visitor)
    assert ["en", page.get_by_label("To", exact=True).input_value()] == usual == ["en", "pt"]


def test_variants_of_two_pairs_in_an_address_are_not_compared(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=original&variant=portuguese&text=" + quote("Good morning."))

    with page.expect_request("**/translate?variant=original"):
        page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="original: Good").wait_for()

    assert page.locator(".output h3").all_inner_texts() == ["original"]
    assert page.get_by_label("To", exact=True).input_value() == "de"
    assert "portuguese" not in page.url


def test_the_pair_survives_a_reload_a_look_elsewhere_and_the_last_runs(visitor: Visitor) -> None:
    page = visitor.open()
    page.get_by_label("To", exact=True).select_option(label="German")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("heading", name="Last runs").wait_for()

    page.reload()
    page.get_by_role("button", name="Run", exact=True).wait_for()
    after_reload = page.get_by_label("To", exact=True).input_value()
    page.get_by_role("navigation").get_by_role("link", name="Variants").click()
    page.get_by_role("heading", name="Variants", level=1).wait_for()
    page.go_back()
    page.get_by_role("button", name="Run", exact=True).wait_for()
    after_back = page.get_by_label("To", exact=True).input_value()
    page.get_by_label("To", exact=True).select_option(label="Portuguese")
    page.locator(".runs .job", has_text="English to German").click()
    from_runs = page.get_by_label("To", exact=True).input_value()

    assert after_reload == after_back == from_runs == "de"
    assert "quantized" in page.locator(".outputs").inner_text()


@pytest.mark.parametrize(
    ("language", "dataset", "variants"), [("Portuguese", "sample-pt", PORTUGUESE), ("German", "sample", GERMAN)]
)
def test_an_evaluation_is_of_data_and_variants_of_one_pair(
    visitor: Visitor, language: str, dataset: str, variants: list[str]
) -> None:
    page = visitor.open("evaluations")
    page.get_by_label("To", exact=True).select_option(label=language)
    names = page.get_by_label("Name").locator("option").all_inner_texts()
    page.get_by_label("Samples", exact=True).fill("2")

    with page.expect_request("**/evaluations") as sent:
        page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    body = sent.value.post_data_json
    other = {"sample", "sample-pt"} - {dataset}
    assert body
    assert body["dataset"] == dataset
    assert set(body["variants"]) <= set(variants)
    assert dataset in names
    assert not other & set(names)
    assert f"Translation, English to {language}, 2 samples" in page.locator("main").inner_text()


def test_own_pairs_of_other_languages_are_refused_in_the_words_of_the_service(visitor: Visitor) -> None:
    german = "Die Kinder spielen heute im Garten, weil die Sonne scheint und die Schule geschlossen ist."
    page = visitor.open("evaluations")
    page.get_by_role("radio", name="Pairs").check()
    page.get_by_label("Pairs, one a line").fill(f"The children are playing in the garden.\t{german}")

    page.get_by_role("button", name="Start").click()
    page.get_by_text("each target seems to be in German").wait_for()
    page.get_by_label("To", exact=True).select_option(label="German")
    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="BLEU").wait_for()

    assert "Translation, English to German, 1 own pair" in page.locator("main").inner_text()


def test_own_pairs_for_a_model_of_many_languages_say_theirs(visitor: Visitor, service: Service) -> None:
    visitor.answer("/variants", with_many_languages(service))
    page = visitor.open("evaluations")
    page.get_by_label("To", exact=True).select_option(label="French")
    page.get_by_role("radio", name="Pairs").check()
    page.get_by_label("Pairs, one a line").fill("Good night.\tBonne nuit.")

    with page.expect_request("**/evaluations") as sent:
        page.get_by_role("button", name="Start").click()

    body = sent.value.post_data_json
    assert body
    assert (body["variants"], body["languages"]) == (["many"], ["en", "fr"])


def test_a_pair_without_a_data_set_says_so(visitor: Visitor, service: Service) -> None:
    visitor.answer("/info", service.get("/info").json | {"datasets": []})

    page = visitor.open("evaluations")

    assert "There is no data set of English to Portuguese here." in page.locator(".job-form").inner_text()
    assert page.get_by_role("button", name="Start").is_disabled()


def test_the_arms_of_an_experiment_are_of_one_pair(visitor: Visitor, service: Service) -> None:
    page = visitor.open("experiments")
    named = page.locator(".arm > span:first-of-type").all_inner_texts()
    page.get_by_label("Name").fill("Is it good enough?")

    with page.expect_request("**/experiments") as sent:
        page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="Is it good enough?").wait_for()
    shown = page.locator("main").inner_text()
    identifier = page.url.rpartition("/")[2]
    stopped = service.post(f"/experiments/{identifier}/stop", {})

    body = sent.value.post_data_json
    assert body
    assert {arm["variant"] for arm in body["arms"]} <= set(named) == set(PORTUGUESE)
    assert body["languages"] == ["en", "pt"]
    assert stopped.json["languages"] == ["en", "pt"]
    assert "An arm answers requests for English to Portuguese that name no variant." in shown


def test_the_list_of_variants_is_that_of_one_pair(visitor: Visitor) -> None:
    names = visitor.page.locator("tbody .row-name")
    page = visitor.open("variants?task=translation")
    first = names.all_inner_texts()

    page.get_by_label("To", exact=True).select_option(label="German")
    second = names.all_inner_texts()
    page.reload()
    names.first.wait_for()
    after_reload = names.all_inner_texts()
    page.goto("about:blank")
    visitor.open("variants?task=translation&target=de")

    assert (set(first), set(second)) == (set(PORTUGUESE), set(GERMAN))
    assert after_reload == names.all_inner_texts() == second


def test_variants_that_cannot_be_loaded_are_still_found_by_their_languages(visitor: Visitor, service: Service) -> None:
    listed = service.get("/variants").json
    for each in listed["variants"]:
        if each["languages"] == ["en", "de"]:
            each |= {"status": "broken", "error": "onnx/decoder.onnx does not have its recorded digest"}
    visitor.answer("/variants", listed)

    page = visitor.open("variants?task=translation&target=de")
    found = page.locator("tbody .row-name").all_inner_texts()
    page.goto("about:blank")
    visitor.open()

    assert set(found) == set(GERMAN)
    assert page.get_by_label("To", exact=True).count() == 0
    assert "English to Portuguese" in page.locator("main").inner_text()


def test_a_model_of_many_languages_is_offered_for_each_and_asked_for_the_chosen_one(
    visitor: Visitor, service: Service
) -> None:
    visitor.answer("/variants", with_many_languages(service))
    visitor.answer("/variants/translation/many", service.get("/variants/translation/original").json)
    page = visitor.open()

    beside_portuguese = offered_variants(visitor)
    page.get_by_label("To", exact=True).select_option(label="French")
    alone = offered_variants(visitor)
    visitor.answer("/translate", "event: done\ndata: {}\n\n", 200, "text/event-stream")
    with page.expect_request("**/translate?variant=many") as sent:
        page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_label("From", exact=True).select_option(label="German")

    body = sent.value.post_data_json
    assert beside_portuguese == [*PORTUGUESE, "many"]
    assert alone == ["many"]
    assert body
    assert (body["source"], body["target"]) == ("en", "fr")
    # The samples are in English.
    assert page.get_by_label("German text").input_value() == ""
    assert page.get_by_role("group", name="Samples").count() == 0
    assert "Traditional Chinese" in page.get_by_label("To", exact=True).inner_text()


@pytest.mark.parametrize(
    ("theme", "size"), [("light", (1280, 800)), ("dark", (360, 740))], ids=["light laptop", "dark phone"]
)
@pytest.mark.parametrize("view", ["", "variants", "evaluations", "experiments"])
def test_everybody_can_choose_languages(visit: Visit, view: str, theme: Any, size: tuple[int, int]) -> None:
    with visit(color_scheme=theme, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce") as visitor:
        page = visitor.open(view)
        page.get_by_label("To", exact=True).focus()
        page.keyboard.press("ArrowUp")

        assert page.get_by_label("To", exact=True).input_value() == "de"
        assert visitor.serious_violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
