"""The playground: one text, several variants, outputs that stream in side by side."""

import json
import re
from urllib.parse import quote

from tests.service.client import Service
from tests.web.conftest import Visitor

TWO = "?task=translation&variant=original&variant=compact&text="
# Keeps every text that the first output shows.
WATCH = """() => {
  window.seen = [];
  const output = document.querySelector(".output .output-text");
  new MutationObserver(() => window.seen.push(output.innerText))
    .observe(output, { childList: true, subtree: true, characterData: true });
}"""


def test_outputs_stand_side_by_side_with_what_they_cost_and_keep(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote("The children are playing in the garden."))

    page.get_by_role("button", name="Run").click()
    page.get_by_text("the same text").wait_for()

    outputs = page.locator(".output").all_inner_texts()
    assert [text.split("\n")[0] for text in outputs] == ["original", "compact"]
    assert all("Die Kinder spielen im Garten." in text for text in outputs)
    assert re.search(r"Time\s+[\d.]+ ms\s+Tokens/s\s+\d+", outputs[1])
    assert re.search(r"Size\s+4\.7 MB\s+Retention\s+0\.9\d\d\s+0\.9\d\d to", outputs[1])
    assert re.search(r"Agreement\s+100 %", outputs[1])


def test_an_output_is_written_while_it_is_generated(visitor: Visitor) -> None:
    page = visitor.open(
        "?task=translation&variant=original&text=" + quote("The train was late. We waited at the station.")
    )
    page.evaluate(WATCH)

    page.get_by_role("button", name="Run").click()
    page.locator(".figure", has_text="Time").get_by_text("ms").wait_for()

    lengths = [len(text.strip()) for text in page.evaluate("window.seen")]
    assert len(set(lengths)) > 3


def test_words_that_differ_from_the_reference_are_marked(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote("The train was late again. We waited at the station and drank a cup of coffee."))

    page.get_by_role("button", name="Run").click()
    page.locator(".output ins").first.wait_for()
    violations = visitor.serious_violations()
    reference, other = page.locator(".output-text").all()
    added = "".join(other.locator("ins").all_inner_texts())
    page.get_by_role("switch").uncheck()

    assert violations == []
    assert reference.locator("ins, del").count() == 0
    assert added and added not in reference.inner_text()
    assert other.locator("ins, del").count() == 0


def test_summaries_are_compared_too(visitor: Visitor) -> None:
    page = visitor.open("?task=summarization&variant=original&variant=quantized")

    page.get_by_role("button", name="Night ferry").click()
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Agreement is ROUGE-L").wait_for()
    page.get_by_text(re.compile("^[0-9.]+ %$")).wait_for()

    assert "ferry" in page.locator(".output-text").nth(1).inner_text()


def test_the_address_holds_text_and_choice(visitor: Visitor) -> None:
    page = visitor.open()
    page.get_by_label("English text").fill("Good morning.")
    page.get_by_role("checkbox", name="pruned").check()

    page.reload()
    page.get_by_role("checkbox", name="pruned").wait_for()

    assert page.get_by_label("English text").input_value() == "Good morning."
    assert page.get_by_role("checkbox", name="pruned").is_checked()


def test_texts_are_never_html(visitor: Visitor) -> None:
    hostile = "<img src=x onerror=alert(1)><b>Good morning.</b>"
    page = visitor.open(TWO + quote(hostile))

    page.get_by_role("button", name="Run").click()
    page.get_by_text(re.compile("^[0-9.]+ %$")).wait_for()

    assert page.get_by_label("English text").input_value() == hostile
    assert page.locator("main img, main b").count() == 0


def test_everything_works_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=original")
    page.get_by_label("English text").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Good night.")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('label')?.innerText.includes('compact')"):
            break

    page.keyboard.press("Space")
    page.get_by_label("English text").focus()
    page.keyboard.press("Control+Enter")
    page.get_by_text("Loading the model").wait_for(state="detached")
    page.get_by_text(re.compile("^[0-9.]+ %$")).wait_for()

    assert page.locator("#announcer").inner_text() == "All 2 variants have answered."


def test_four_variants_are_enough(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=original&variant=compact&variant=pruned&variant=distilled")

    assert page.get_by_role("checkbox", name="quantized").is_disabled()
    assert page.locator(".output").count() == 4


def test_a_problem_is_shown_in_the_words_of_the_service(visitor: Visitor) -> None:
    problem = {"type": "/problems/overloaded", "title": "Overloaded", "status": 429, "detail": "4096 rows are queued"}
    page = visitor.open(TWO + "Hello.")
    visitor.answer("/translate", problem, 429, "application/problem+json")

    page.get_by_role("button", name="Run").click()
    page.get_by_text("Failed").nth(1).wait_for()

    assert page.locator(".output-error").first.inner_text() == "4096 rows are queued"


def test_an_output_is_rated_where_the_service_takes_feedback(visitor: Visitor, service: Service) -> None:
    answer = {
        "id": "r1", "variant": "original", "outputs": [{"text": "Hallo.", "output_tokens": 3}],
        "timings": {"queue_ms": 0.1, "inference_ms": 9.0, "total_ms": 9.5},
    }  # fmt: skip
    visitor.offer(service, "post /feedback")
    visitor.answer("/translate", f"event: done\ndata: {json.dumps(answer)}\n\n", kind="text/event-stream")
    visitor.answer("/feedback", {})
    page = visitor.open("?task=translation&variant=original&text=Hello.")
    page.get_by_role("button", name="Run").click()

    with page.expect_request("**/feedback") as rated:
        page.get_by_role("button", name="original: Good").click()

    assert rated.value.post_data_json == {"response": "r1", "rating": 1}
    page.get_by_text("Thank you.").wait_for()
