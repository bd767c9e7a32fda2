"""What the page shows of a run of `compress`: the chosen variant and why, the chart, the table and the command."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slimseq.models_store.fronts import add_front
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.hand_made_fronts import front_of, structures
from tests.service.client import Service
from tests.service.conftest import running_service
from tests.web.conftest import Visit, Visitor
from tests.web.test_layout import CUT_ELEMENTS, LAPTOP, PHONE, TEXT_BOXES, overlapping

if TYPE_CHECKING:
    from playwright.sync_api import Locator

REMARK = "Greedy search keeps .998 (.991 to 1.004) at 2.9 times the speed."
NONE_CHOSEN = "no candidate is confirmed. The best is quantized: it keeps 97.6% on the confirming half"
TRANSLATION, SUMMARIZATION = "variants?task=translation", "variants?task=summarization"


@pytest.fixture(scope="module")
def service(chromium: str, embedded: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Serves a store in which a run chose a translator, and another one no summarizer, without references."""
    folder = tmp_path_factory.mktemp("fronts")
    store = Store(Path(shutil.copytree(embedded.root, folder / "artifacts")))
    original, *translators = (
        store.manifest(Task.TRANSLATION, name) for name in ("original", "quantized", "pruned", "distilled", "compact")
    )
    more: dict[str, Any] = {"structures": structures(4), "remarks": [REMARK]}
    add_front(store.root, Task.TRANSLATION, front_of(original, translators, "pruned", **more))
    original, *summarizers = (store.manifest(Task.SUMMARIZATION, name) for name in ("original", "quantized", "compact"))
    more = {"is_agreement": True, "metric": "rougeL", "aim": "smallest", "within": "3m", "reason": NONE_CHOSEN}
    add_front(store.root, Task.SUMMARIZATION, front_of(original, summarizers, None, **more))
    with running_service(folder / "log", store=store.root) as running:
        yield running


def found_of(visitor: Visitor, view: str) -> "Locator":
    """Opens a view and returns what it shows of the run."""
    return visitor.open(view).get_by_role("region", name="What compress found")


def test_the_page_says_which_variant_was_chosen_and_why(visitor: Visitor) -> None:
    found = found_of(visitor, TRANSLATION)

    assert found.locator(".found-choice").inner_text() == "pruned was chosen."
    assert found.locator(".found-reason").inner_text().startswith("It is the fastest that is confirmed: it keeps 98.4%")
    assert found.locator(".found-asked").inner_text().split("\n")[:4] == [
        "Bar: 0.97 retention of chrF",
        "Aim: fastest",
        "Within 60m",
        "250 held-out pairs",
    ]
    assert found.locator(".remarks").inner_text() == REMARK
    assert found.locator("code").inner_text() == (
        "slimseq compress translation/original --data PAIRS.jsonl --keep 0.97 --within 60m"
    )


def test_the_chart_shows_each_variant_with_its_interval_the_bar_and_the_chosen_one(visitor: Visitor) -> None:
    found = found_of(visitor, TRANSLATION)
    chart = found.get_by_role("group", name="Retention against Speed, times the original's")
    labels = chart.locator("a.point").evaluate_all("points => points.map(point => point.getAttribute('aria-label'))")
    line = chart.locator("line.bar-line").bounding_box()
    ring = chart.locator(".ring").bounding_box()
    dots = [each.bounding_box() for each in chart.locator("a.point .dot").all()]

    assert [label.partition(":")[0] for label in labels] == ["original", "quantized", "pruned", "distilled", "compact"]
    assert labels[2].startswith("pruned: retention 0.984 (0.974 to 0.994), 2.40\N{MULTIPLICATION SIGN} as fast")
    assert "chosen, keeps the bar" in labels[2]
    assert "not confirmed to keep the bar" in labels[3]
    assert chart.locator(".whisker").count() == 5
    assert chart.locator(".bar-text").text_content() == "bar 0.97"
    assert line is not None and ring is not None
    heights = [box["y"] + box["height"] / 2 for box in dots if box is not None]
    # The retentions are 1, 0.996, 0.984, 0.972 and 0.96, so that the bar is between the last two.
    assert heights == sorted(heights)
    assert heights[3] < line["y"] < heights[4]
    # The ring is around the chosen one.
    assert abs(ring["y"] + ring["height"] / 2 - heights[2]) < 4


def test_the_marks_are_as_large_as_the_files(visitor: Visitor, service: Service) -> None:
    [front] = [each for each in service.get("/variants").json["fronts"] if each["task"] == "translation"]
    found = found_of(visitor, TRANSLATION)
    transforms = found.locator("a.point .dot").evaluate_all("dots => dots.map(dot => dot.getAttribute('transform'))")
    scales = [float(each.partition("scale(")[2].rstrip(")")) for each in transforms]

    largest = max(each["bytes"] for each in front["variants"])
    for each, scale in zip(front["variants"], scales[1:], strict=True):
        if scale > 0.65:
            assert (scale / max(scales[1:])) ** 2 == pytest.approx(each["bytes"] / largest, rel=0.01)
    assert len(set(scales)) > 2


def test_the_table_has_the_numbers_of_the_chart_and_its_names_open_the_variants(visitor: Visitor) -> None:
    found = found_of(visitor, TRANSLATION)
    rows = found.locator("table.found-variants tbody tr")
    chosen = rows.filter(has_text="chosen").inner_text()
    last = rows.last.inner_text()
    rows.filter(has_text="chosen").get_by_role("link", name="pruned").click()
    visitor.page.get_by_role("heading", level=1, name="pruned").wait_for()

    assert rows.count() == 0
    for words in ("0.984", "0.974 to 0.994", "0.975", "keeps the bar", "2.40\N{MULTIPLICATION SIGN}", "1,200 tokens/s"):
        assert words in chosen
    assert "not confirmed" in last
    assert visitor.page.url.endswith("#/variants/translation/pruned")


def test_the_structures_that_take_most_time_come_first_and_all_are_shown_on_request(visitor: Visitor) -> None:
    found = found_of(visitor, TRANSLATION)
    table = found.get_by_role("table", name="Where the original's time goes")
    first = table.locator("tbody tr").all_inner_texts()
    found.get_by_role("button", name="Show all 12").click()
    everything = table.locator("tbody tr").count()
    found.get_by_role("button", name="Show the first 6").click()

    assert len(first) == 6
    assert first[0].split() == ["decoder", "layer", "4,", "feed-forward", "20.0", "%", "0.050"]
    assert (everything, table.locator("tbody tr").count()) == (12, 6)


def test_without_references_the_page_speaks_of_agreement_and_without_a_choice_of_none(visitor: Visitor) -> None:
    found = found_of(visitor, SUMMARIZATION)
    text = found.inner_text()

    assert found.locator(".found-choice").inner_text() == "No variant keeps the bar."
    assert found.locator(".found-reason").inner_text().startswith("No candidate is confirmed. The best is quantized")
    assert "Agreement against speed" in text
    assert "says nothing about quality" in text
    assert "retention" not in text.lower()
    assert found.locator(".ring").count() == 0
    assert found.get_by_role("table", name="Where the original's time goes").count() == 0
    assert found.locator("code").inner_text() == (
        "slimseq compress summarization/original --unlabelled TEXTS.jsonl --keep 0.97 --within 3m --aim smallest"
    )


def test_a_chosen_variant_that_is_gone_is_named_as_gone(visitor: Visitor, service: Service) -> None:
    listed = service.get("/variants").json
    front = next(each for each in listed["fronts"] if each["task"] == "translation")
    front["variants"] = [each for each in front["variants"] if each["variant"] != "pruned"]
    visitor.answer("/variants", listed)

    found = found_of(visitor, TRANSLATION)

    assert found.locator(".found-choice").inner_text() == (
        "pruned was chosen. The store no longer has it as it was measured."
    )
    assert found.locator("a.point").count() == 4


def test_a_scorer_and_another_metric_are_named_in_the_command(visitor: Visitor, service: Service) -> None:
    listed = service.get("/variants").json
    translation, summarization = sorted(listed["fronts"], key=lambda front: front["task"], reverse=True)
    translation["metric"], summarization["metric"] = "scorer", "rouge1"
    visitor.answer("/variants", listed)

    scored = found_of(visitor, TRANSLATION)
    assert scored.locator(".found-asked").inner_text().startswith("Bar: 0.97 retention of the scorer")
    assert scored.locator("code").inner_text().endswith("--scorer COMMAND")
    visitor.page.get_by_role("radio", name="Summarization").check()
    assert scored.locator("code").inner_text().endswith("--metric rouge1")


def test_variants_of_an_original_that_no_run_compressed_have_no_such_part(visitor: Visitor, service: Service) -> None:
    visitor.answer("/variants", service.get("/variants").json | {"fronts": []})

    assert found_of(visitor, TRANSLATION).count() == 0
    assert visitor.page.locator(".plot").count() == 1


@pytest.mark.parametrize("view", [TRANSLATION, SUMMARIZATION])
@pytest.mark.parametrize(
    ("theme", "size"), [("light", LAPTOP), ("dark", LAPTOP), ("dark", PHONE)], ids=["light", "dark", "phone"]
)
def test_it_is_accessible_fits_the_screen_and_no_labels_overlap(visit: Visit, view: str, theme: Any, size: Any) -> None:
    with visit(color_scheme=theme, viewport=size, reduced_motion="reduce") as visitor:
        found = found_of(visitor, view)
        found.wait_for()
        names = found.locator("a.point").all()
        labels = found.locator(".point-label, .plot-names > span").all_text_contents()
        ends = [box["right"] for box in found.locator(".plot text").evaluate_all(TEXT_BOXES)]

        assert visitor.serious_violations() == []
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert found.locator(".table-scroll").evaluate_all(CUT_ELEMENTS) == []
        assert overlapping(visitor, ".found .plot text") == []
        assert len(labels) == len(names)
        assert max(ends) <= size["width"]
