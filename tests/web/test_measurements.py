"""The views of variants (table, plot, tree, details) and of live measurements."""

import re
from typing import Any

import pytest

from tests.service.client import Service
from tests.web.conftest import Visitor


def test_the_table_shows_retention_size_confidence_and_speed_of_each_variant(
    visitor: Visitor, service: Service
) -> None:
    recorded = {
        each["variant"]: each for each in service.get("/variants").json["variants"] if each["task"] == "translation"
    }

    page = visitor.open("variants?task=translation")
    rows = {row.split("\n")[0].strip(): row for row in page.locator("table.variants tbody tr").all_inner_texts()}

    assert set(rows) == set(recorded)
    for name, each in recorded.items():
        assert f"{each['quality']['retention']['value']:.3f}" in rows[name]
        assert f"{each['bytes'] / 1e6:.1f} MB" in rows[name]
        assert f"{each['confidence']['spearman']:.2f}" in rows[name]
        speed = each["speed"] or each["published"]["speed"]
        assert f"{speed['speed_up']:.2f}\N{MULTIPLICATION SIGN}" in rows[name]
    assert "Passed" in rows["pruned"]


def test_a_variant_says_what_its_confidence_is_worth(visitor: Visitor, service: Service) -> None:
    detail = service.get("/variants/translation/compact").json
    found = {"metric": "chrf", "dataset": "dev.mine", "samples": 600, "spearman": 0.553, "calibration_error": 0.026}
    detail["confidence"] = {"is_used": True, "spearman_interval": [0.491, 0.614], **found}
    visitor.answer("/variants/translation/compact", detail)
    detail = service.get("/variants/summarization/compact").json
    detail["confidence"] = {"is_used": False, "spearman_interval": [-0.07, 0.61], **found}
    visitor.answer("/variants/summarization/compact", detail)

    page = visitor.open("variants/translation/compact")
    section = page.locator("section", has=page.get_by_role("heading", name="Confidence"))
    used = section.inner_text()
    violations = visitor.serious_violations()
    visitor.open("variants/summarization/compact")
    page.get_by_text("Outputs have no confidence").wait_for()

    assert "the chrF / 100 that such outputs have" in used
    assert "0.55 (95 % interval 0.49 to 0.61)" in used
    assert "600 samples of dev.mine" in used
    assert "off by 0.03 on average" in used
    assert "interval -0.07 to 0.61" in section.inner_text()
    assert violations == []


def test_a_point_of_the_plot_opens_its_variant(visitor: Visitor) -> None:
    page = visitor.open("variants?task=translation&x=size")
    marks = page.locator(".plot a.point")
    names = marks.evaluate_all("marks => marks.map(mark => mark.getAttribute('aria-label'))")

    marks.nth(1).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Scores").wait_for()

    words = r"compact: retention 0\.9\d\d of BLEU \(0\.9\d\d to 0\.9\d\d\), 4\.7 MB of model files, on the front"
    assert any(re.fullmatch(words, name) for name in names)
    assert "#/variants/translation/" in page.url


def test_the_plot_shows_quality_against_memory_and_the_tree_what_was_made_from_what(visitor: Visitor) -> None:
    page = visitor.open("variants?task=translation")

    page.get_by_role("radio", name="Memory").check()
    page.get_by_role("group", name="Retention against Memory when loaded").wait_for()

    assert page.url.endswith("#/variants?task=translation&x=memory")
    # Below the plot the tree says what was made from what.
    tree = page.locator(".tree > li")
    assert tree.locator("> a").inner_text().startswith("original")
    pruned = tree.locator("> ul > li").filter(has=page.locator("> a", has_text="pruned"))
    assert "distilled" in pruned.locator("> ul > li > a").first.inner_text()


def test_variants_are_grouped_by_their_base_model_and_a_broken_one_says_why(visitor: Visitor, service: Service) -> None:
    answer = service.get("/variants").json
    listed = answer["variants"]
    other = service.get("/variants/translation/original").json
    other |= {"variant": "other", "digest": "sha256:0", "reference": {"variant": "other", "digest": "sha256:0"}}
    broken = next(each for each in listed if (each["task"], each["variant"]) == ("translation", "pruned"))
    broken |= {"status": "broken", "error": "manifest.json is not JSON", "reference": None, "quality": None}
    visitor.answer("/variants", answer | {"variants": [*listed, other]})
    visitor.answer("/variants/translation/other", other)
    visitor.answer("/variants/translation/pruned", {**broken, "manifest": None})

    page = visitor.open("variants?task=translation")
    groups = page.locator("section.root").all()

    assert [group.locator("table.variants tbody tr").count() for group in groups] == [4, 1]
    assert "manifest.json is not JSON" in page.locator(".problem").inner_text()


def test_a_variant_shows_its_scores_steps_and_files(visitor: Visitor, service: Service) -> None:
    detail = service.get("/variants/translation/pruned").json

    page = visitor.open("variants/translation/pruned")
    text = page.locator("main").inner_text()

    assert detail["manifest"]["description"] in text
    assert detail["digest"] in text
    assert all(each["path"] in text for each in detail["manifest"]["files"])
    assert page.locator(".steps > li").count() == len(detail["manifest"]["lineage"])


def test_live_traffic_shows_within_seconds(visitor: Visitor, service: Service) -> None:
    page = visitor.open("live")
    page.get_by_text("Ready", exact=True).wait_for()

    for _ in range(5):
        service.post("/translate?variant=quantized", {"text": "Good morning."})
        service.post("/translate", {"text": 1})
    for rate in ("#figures-requests", "#figures-tokens"):
        page.locator(rate, has_text=re.compile("[1-9]")).wait_for()
    page.locator("#figures-requests", has_text=re.compile(r"[1-9]\s*errors")).wait_for()

    tables = page.locator("#live-tables").inner_text()
    assert "quantized" in tables
    assert "onnxruntime" in tables
    assert "invalid request" in tables
    assert page.locator(".timeline canvas").count() == 6


def test_the_pointer_shows_the_figures_of_an_earlier_time(visitor: Visitor, service: Service) -> None:
    service.post("/translate?variant=quantized", {"text": "Good morning."})
    page = visitor.open("live")
    page.locator("#figures-memory", has_text="MB").wait_for()

    line = page.locator("#chart-memory").bounding_box()
    assert line is not None
    # Readings are at the right end of the chart; left of them is the service's window.
    page.mouse.move(line["x"] + 80, line["y"] + 60)

    page.wait_for_function("document.getElementById('at-requests').textContent.length === 8")
    assert re.search(r"\d m?s\s+generation", page.locator("#figures-latency").inner_text())
    assert page.locator("#figures-tokens").inner_text() == "\N{EN DASH}"
    page.mouse.move(0, 0)
    page.wait_for_function("document.getElementById('at-requests').textContent === ''")


def test_recorded_agreement_stands_beside_that_of_live_requests(visitor: Visitor, service: Service) -> None:
    report = service.get("/quality").json
    live = {"similarity": 0.913, "interval": [0.88, 0.941], "exact": 0.4, "outputs": 120, "metric": "chrf"}
    for each in report["qualities"]:
        each |= {"live_agreement": None, "agreement": None}
        if (each["task"], each["variant"]) == ("translation", "compact"):
            each |= {"live_agreement": live, "agreement": {"similarity": 0.925}}
    visitor.answer("/quality", report)

    page = visitor.open("live")
    row = page.locator("section", has=page.get_by_role("heading", name="Agreement")).locator("tbody tr")

    assert " ".join(row.inner_text().split()) == "compact Translation 0.913 0.880 to 0.941 40 % 120 0.925"


@pytest.mark.parametrize(("status", "words"), [(403, "it needs the scope metrics"), (404, "nothing at /metrics here")])
def test_live_shows_latency_and_memory_where_metrics_are_refused(visitor: Visitor, status: int, words: str) -> None:
    problem = {"type": "about:blank", "title": "Refused", "status": status, "detail": words, "request_id": "1"}
    visitor.answer("/metrics", problem, status)
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))

    page = visitor.open("live")
    page.get_by_role("heading", name="Latency by phase").wait_for()
    page.wait_for_timeout(2500)

    assert words in page.locator("#live-state").inner_text()
    assert page.locator("main .problem").count() == 0
    assert page.locator("main .loading").count() == 0
    assert page.get_by_role("heading", name="Errors").count() == 0
    assert page.locator("#figures-requests").inner_text().count("\N{EN DASH}") == 2
    assert "MB" in page.locator("#figures-memory").inner_text()
    assert asked.count("memory") > 1
    assert asked.count("metrics") == 1


def test_live_says_when_the_service_is_gone_and_when_it_is_back(visitor: Visitor) -> None:
    page = visitor.open("live")
    page.get_by_text("Ready", exact=True).wait_for()

    page.route("**/memory", lambda route: route.abort())
    page.get_by_text("No connection").wait_for()
    page.unroute("**/memory")

    page.get_by_text("Ready", exact=True).wait_for()


def speed_of(base: dict[str, Any], speed_up: float | None, **more: Any) -> dict[str, Any]:
    """A measured speed with another speed-up. The base model has 100 tokens a second."""
    figures = {"speed_up": speed_up, "tokens_per_second": 100 * (speed_up or 1), "base_tokens_per_second": 100.0}
    return base | figures | {"no_speed_up": None} | more


def show_summarizers(visitor: Visitor, service: Service, changes: dict[str, dict[str, Any]]) -> None:
    """Shows the page only the summarizers, each with changed fields."""
    answer = service.get("/variants").json
    listed = [each for each in answer["variants"] if each["task"] == "summarization"]
    visitor.answer("/variants", answer | {"variants": listed})
    for each in listed:
        detail = service.get(f"/variants/summarization/{each['variant']}").json
        visitor.answer(f"/variants/summarization/{each['variant']}", detail | changes.get(each["variant"], {}))


def test_bars_and_the_plot_draw_the_ratio_that_is_written_and_what_is_published_stands_beside_it(
    visitor: Visitor, service: Service
) -> None:
    known = service.get("/variants/summarization/pruned").json["speed"]
    here, elsewhere = {"machine": "a laptop", "is_here": True, "batch": 1}, {"machine": "a server", "is_here": False}
    published = {"digest": "sha256:0", "is_same": False, "retention": None, "speed": speed_of(known, 7.54, **elsewhere)}
    figures: dict[str, dict[str, Any]] = {
        "original": {"speed": speed_of(known, 1.0, **here), "published": None},
        "pruned": {"speed": speed_of(known, 2.0, **here), "published": None},
        "distilled": {"speed": None, "published": None, "left_out": "its speed was not measured"},
        "quantized": {"speed": speed_of(known, 4.0, **here, tokens_per_second=9999), "published": None},
        "compact": {"speed": speed_of(known, 8.0, **here), "published": published},
    }
    show_summarizers(visitor, service, figures)

    page = visitor.open("variants?task=summarization")
    rows = {row.locator("th a").inner_text(): row for row in page.locator("table.variants tbody tr").all()}
    bars = {name: row.locator("td[data-label=Speed] .bar-value").get_attribute("width") for name, row in rows.items()}
    marks = page.locator(".plot a.point").evaluate_all("marks => marks.map(mark => mark.getAttribute('aria-label'))")

    # The longest bar, 100, is the speed-up of 8.
    assert bars == {"original": "12.5", "pruned": "25", "distilled": "0", "quantized": "50", "compact": "100"}
    assert "8.00\N{MULTIPLICATION SIGN}" in rows["compact"].inner_text()
    assert "published 7.54\N{MULTIPLICATION SIGN}" in rows["compact"].inner_text()
    assert "published" not in rows["pruned"].inner_text()
    assert any("4.00\N{MULTIPLICATION SIGN} as fast as the base model" in mark for mark in marks)
    assert not any(mark.startswith("distilled") for mark in marks)
    text = page.locator("main").inner_text()
    assert "on this machine: a laptop, one text at a time" in text
    assert "Published speeds were measured on another machine: a server" in text
    assert "The published figures of compact are of files that another kind of CPU made." in text
    assert "min_retention leaves out distilled: its speed was not measured." in text


def test_a_limit_is_drawn_on_the_axis_of_its_own_metric_alone(visitor: Visitor, service: Service) -> None:
    chrf = {"name": "retention of chrf on news", "value": 0.971, "limit": 0.95, "is_passed": True}
    chrf |= {"metric": "chrf", "dataset": "news", "interval": [0.965, 0.976], "is_confident": True}
    chrf |= {"warnings": ["500 samples of news are too few for this limit"]}
    gate = {"verdict": "passed", "checks": [chrf]}
    retention = {"value": 0.93, "interval": [0.914, 0.946], "dataset": "news", "split": "test", "samples": 500}

    def judged(metric: str, warning: str | None = None) -> dict[str, Any]:
        shown = retention | {"metric": metric, "warning": warning}
        return {"quality": {"retention": shown, "agreement": None, "gate": gate}}

    useless = "original has 0.30 of rougeL on news, no more than the trivial baseline"
    show_summarizers(visitor, service, {"pruned": judged("rougeL", useless), "distilled": judged("chrf")})

    page = visitor.open("variants?task=summarization")
    rows = {row.locator("th a").inner_text(): row for row in page.locator("table.variants tbody tr").all()}
    limits = {name: rows[name].locator(".interval-limit").count() for name in ("pruned", "distilled")}
    text = page.locator("main").inner_text()
    visitor.open("variants/summarization/distilled")
    section = page.locator("section", has=page.get_by_role("heading", name="Gate")).inner_text()

    assert limits == {"pruned": 0, "distilled": 1}
    assert f"{useless}." in text
    assert "0.971 (0.965 to 0.976) lower bound at least 0.95" in " ".join(section.split())
    assert "500 samples of news are too few for this limit." in section
