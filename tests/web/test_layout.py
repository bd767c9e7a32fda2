"""What is measured in pixels: the Run button is in sight, no labels of a chart overlap, and no table is cut."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.service.client import Service
from tests.service.conftest import running_service
from tests.web.conftest import Visit, Visitor

LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 812}
# Script: whether a click in the middle of an element hits it, and nothing that lies above it.
IS_ON_TOP = """element => {
  const box = element.getBoundingClientRect();
  const hit = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return element === hit || element.contains(hit);
}"""
# Script: the texts of elements, with their boxes.
TEXT_BOXES = """texts => texts.filter(each => each.textContent.trim()).map(each => {
  const { left, right, top, bottom } = each.getBoundingClientRect();
  return { text: each.textContent.trim(), left, right, top, bottom };
})"""
# Script: the elements that are wider inside than outside, so that a part is cut off.
CUT_ELEMENTS = """scrolls => scrolls.filter(each => each.scrollWidth > each.clientWidth)
  .map(each => `${each.ariaLabel}: ${each.scrollWidth} of ${each.clientWidth}`)"""


@pytest.fixture(scope="module")
def service(chromium: str, embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serves all embedded models, which have long names too."""
    with running_service(tmp_path_factory.mktemp("layout") / "log", store=embedded_store()) as running:
        yield running


def with_many_variants(service: Service) -> dict[str, Any]:
    """The list of variants, with twenty more translators to Portuguese."""
    listed: dict[str, Any] = service.get("/variants").json
    one = next(each for each in listed["variants"] if each["variant"] == "portuguese-pruned")
    listed["variants"] += [one | {"variant": f"portuguese-pruned-{number}"} for number in range(20)]
    return listed


def overlapping(visitor: Visitor, selector: str) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap by more than a pixel. Letters leave about so much of their box empty."""
    boxes = visitor.page.locator(selector).evaluate_all(TEXT_BOXES)
    assert len(boxes) > 2
    return [
        (one["text"], other["text"])
        for one, other in itertools.combinations(boxes, 2)
        if min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 1
    ]


@pytest.mark.parametrize("view", ["", "?task=summarization", "?task=translation&format=html"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_run_button_is_in_sight_at_first(visit: Visit, size: Any, view: str) -> None:
    with visit(viewport=size, has_touch=size is PHONE) as visitor:
        page = visitor.open(view)
        for name in ("Run", "Vote blind"):
            button = page.get_by_role("button", name=name, exact=True)
            box = button.bounding_box()

            assert box is not None
            # Below the header, which is 60 pixels high, and above the lower edge.
            assert box["y"] > 60
            assert box["y"] + box["height"] <= size["height"]
            assert button.evaluate(IS_ON_TOP)


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_the_run_button_stays_in_sight_and_hides_no_choice_among_many_variants(
    visit: Visit, service: Service, size: Any
) -> None:
    with visit(viewport=size) as visitor:
        visitor.answer("/variants", with_many_variants(service))
        page = visitor.open()
        run = page.get_by_role("button", name="Run", exact=True)
        at_first = run.evaluate(IS_ON_TOP)
        hidden = []
        for box in page.locator(".choice input").all():
            box.focus()
            if box.is_enabled() and not (box.evaluate(IS_ON_TOP) and run.evaluate(IS_ON_TOP)):
                hidden.append(box)

        assert at_first
        assert hidden == []


@pytest.mark.parametrize("query", ["task=translation", "task=translation&source=en&target=de", "task=summarization"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_no_labels_of_a_plot_overlap_and_none_is_missing(visit: Visit, query: str, size: Any) -> None:
    with visit(viewport=size, reduced_motion="reduce") as visitor:
        page = visitor.open(f"variants?{query}")
        for cost in ("Speed", "Size", "Memory"):
            page.get_by_role("radio", name=cost).check()
            points = page.locator(".plot a.point").all()
            names = [str(each.get_attribute("aria-label")).partition(":")[0] for each in points]
            shown = page.locator(".point-label, .plot-names > span").all_text_contents()
            ends = [box["right"] for box in page.locator(".plot text").evaluate_all(TEXT_BOXES)]

            assert names
            assert sorted(name.strip() for name in shown) == sorted(names)
            assert overlapping(visitor, ".plot text") == []
            assert max(ends) <= size["width"]


def test_no_labels_of_an_experiment_overlap_on_a_phone(visit: Visit, service: Service) -> None:
    arms = [{"variant": "portuguese", "weight": 1}, {"variant": "portuguese-quantized", "weight": 1}]
    started = service.post("/experiments", {"task": "translation", "name": "Which is better?", "arms": arms}).json
    text = {"text": "Good morning.", "num_beams": 1}
    compared = service.post("/compare?task=translation&variant=portuguese&variant=portuguese-quantized", text).json
    assert service.post("/feedback", {"comparison": compared["id"], "preferred": "portuguese"}).status == 201
    with visit(viewport=PHONE) as visitor:
        visitor.open(f"experiments/{started['id']}")
        found = overlapping(visitor, ".comparison text, .pair-sides > span, .pair-words > span")
    service.post(f"/experiments/{started['id']}/stop", {})

    assert found == []


def test_no_table_is_cut_on_a_laptop(visit: Visit, service: Service) -> None:
    names = ["portuguese", "portuguese-quantized"]
    body = {"task": "translation", "variants": names, "dataset": "sample-pt", "samples": 2}
    job = service.post("/evaluations", body).json["id"]
    for name in names:
        service.post(f"/translate?variant={name}", {"text": "Good morning."})
    views = [
        "variants?task=translation",
        "variants?task=translation&source=en&target=de",
        "variants?task=summarization",
        "variants/translation/portuguese-quantized",
        "variants/summarization/compact",
        "live",
        f"evaluations/{job}",
    ]
    with visit(viewport=LAPTOP) as visitor:
        page = visitor.page
        cut = {}
        for view in views:
            visitor.open(view)
            page.locator(".table-scroll").first.wait_for()
            cut[view] = page.locator(".table-scroll").evaluate_all(CUT_ELEMENTS)

    assert cut == {view: [] for view in views}


def test_a_long_name_of_a_variant_breaks_rather_than_cut_its_table(visit: Visit, service: Service) -> None:
    listed = service.get("/variants").json
    kept = [each for each in listed["variants"] if each["languages"] == ["en", "pt"]]
    details = {each["variant"]: service.get(f"/variants/translation/{each['variant']}").json for each in kept}
    long = "a-variant-whose-name-has-as-many-characters-as-any-name-can-have"
    with visit(viewport=LAPTOP) as visitor:
        for name, detail in details.items():
            shown = long if name == "portuguese-quantized" else name
            visitor.answer(f"/variants/translation/{shown}", detail | {"variant": shown})
        for each in kept:
            each["variant"] = long if each["variant"] == "portuguese-quantized" else each["variant"]
        visitor.answer("/variants", listed | {"variants": kept})
        page = visitor.open("variants?task=translation")
        page.get_by_role("row").filter(has_text=long).wait_for()

        assert page.locator(".table-scroll").evaluate_all(CUT_ELEMENTS) == []
        assert overlapping(visitor, ".plot text") == []
