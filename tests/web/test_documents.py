"""The playground with documents and facts: HTML and Markdown, and what is protected."""

import json
from urllib.parse import quote

import pytest

from tests.web.conftest import TWO, Visit, Visitor


@pytest.mark.parametrize(("sample", "name"), [("Web page", "html"), ("Manual", "markdown")])
def test_a_document_is_translated_with_its_structure_and_shown_as_source(visit: Visit, sample: str, name: str) -> None:
    with visit(viewport={"width": 360, "height": 740}, has_touch=True) as visitor:
        page = visitor.open(TWO)
        page.get_by_role("button", name=sample).click()
        with page.expect_request("**/translate?variant=compact") as sent:
            page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Same structure:").nth(1).wait_for()

        body = sent.value.post_data_json
        source = page.locator("#text").input_value()
        shown = page.locator(".output-text > p:first-child").first.inner_text()
        marked = page.locator(".output").first.locator(".markup").all_inner_texts()
        assert body
        assert (body["format"], body["protect"]) == (name, True)
        assert all(mark.strip() in shown and mark.strip() in source for mark in marked)
        assert len(marked) > 10
        assert "(https://example.com" in shown or 'href="https://example.com' in shown
        assert page.locator(".output-text :is(h2, ul, table, em)").count() == 0
        assert visitor.serious_violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_structure_that_differs_is_named(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=original&format=html&text=" + quote("<p>A <b>red</b> house.</p>"))
    hostile = '<p>Ein rotes Haus.<img src=x onerror="alert(1)"></p>'
    done = {"id": "1", "outputs": [{"text": hostile, "output_tokens": 2}], "timings": {"inference_ms": 1.0}}
    visitor.answer("/translate", f"event: done\ndata: {json.dumps(done)}\n\n", 200, "text/event-stream")

    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Structure differs.").wait_for()

    said = page.locator(".structure").inner_text()
    assert "<b> 1 in the text, 0 here" in said
    assert 'onerror="alert(1)"> 0 in the text, 1 here' in said
    assert hostile in page.locator(".output-text").inner_text()
    assert page.locator("main img").count() == 0


def test_facts_are_protected_until_it_is_switched_off(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=compact")
    page.get_by_role("button", name="Prices").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="compact: Good").wait_for()
    protected = page.locator(".output-text").inner_text()

    page.get_by_role("switch", name="Protect facts").uncheck()
    with page.expect_request("**/translate?variant=compact") as sent:
        page.get_by_role("button", name="Run", exact=True).click()

    body = sent.value.post_data_json
    assert "1.299,99" in protected
    assert "15:30 Uhr" in protected
    assert body
    assert body["protect"] is False
    assert "protect=false" in page.url


def test_text_choice_format_and_protection_survive_a_reload_and_hold_for_a_blind_vote(visitor: Visitor) -> None:
    page = visitor.open(TWO)
    page.get_by_label("English text").fill("<p>The house is <b>red</b>.</p>")
    page.get_by_role("checkbox", name="pruned").check()
    page.get_by_role("radio", name="HTML").check()
    page.get_by_label("Protect facts").uncheck()

    page.reload()
    page.get_by_role("radio", name="HTML").wait_for()
    with page.expect_request("**/compare?**") as sent:
        page.get_by_role("button", name="Vote blind").click()

    body = sent.value.post_data_json
    assert body
    assert (body["format"], body["protect"]) == ("html", False)
    assert body["text"] == "<p>The house is <b>red</b>.</p>"
    assert "variant=pruned" in sent.value.url
    assert page.get_by_role("radio", name="HTML").is_checked()
    assert not page.get_by_label("Protect facts").is_checked()


def test_a_summary_of_a_document_is_plain_text_and_is_not_protected(visitor: Visitor) -> None:
    text = "<h1>The bridge</h1><p>The bridge over the river is closed. It opens in May.</p>"
    page = visitor.open("?task=summarization&variant=quantized&format=html&text=" + quote(text))
    with page.expect_request("**/summarize?**") as sent:
        page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="quantized: Good").wait_for()

    body = sent.value.post_data_json
    assert body
    assert body["format"] == "html"
    assert "protect" not in body
    assert page.get_by_label("Protect facts").count() == 0
    assert "<" not in page.locator(".output-text").inner_text()
    assert page.locator(".structure").count() == 0


@pytest.mark.parametrize(
    ("format", "text"), [("html", "<p>The <b>house</b> is old.</p>"), ("markdown", "The **house** is old.")]
)
def test_an_output_has_a_preview_in_a_frame_that_may_do_nothing(visitor: Visitor, format: str, text: str) -> None:
    page = visitor.open(f"?task=translation&variant=original&format={format}&text={quote(text)}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="original: Good").wait_for()

    page.get_by_role("switch", name="Preview").check()

    assert page.frame_locator("iframe[sandbox='']").locator("b, strong").inner_text() == "Haus"
