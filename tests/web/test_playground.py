"""The playground: one text, several variants, outputs that stream in side by side."""

import re
from urllib.parse import quote

import pytest

from tests.service.client import Service
from tests.web.conftest import DIFFERING, TWO, Visit, Visitor

# Script: keeps every text that the first output shows, in `window.seen`.
WATCH_OUTPUT = """() => {
  window.seen = [];
  const output = document.querySelector(".output .output-text");
  new MutationObserver(() => window.seen.push(output.innerText))
    .observe(output, { childList: true, subtree: true, characterData: true });
}"""


def test_outputs_are_side_by_side_with_time_size_retention_and_agreement(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote("The children are playing in the garden."))

    page.get_by_role("button", name="Run").click()
    page.get_by_text("the same text").wait_for()

    outputs = page.locator(".output").all_inner_texts()
    assert page.get_by_role("link", name="Import a real one").is_visible()
    assert [text.split("\n")[0] for text in outputs] == ["original", "compact"]
    assert all("Die Kinder spielen im Garten." in text for text in outputs)
    assert re.search(r"Time\s+[\d.]+ ms\s+Tokens/s\s+\d+", outputs[1])
    assert re.search(r"Model files\s+4\.7 MB\s+Retention\s+0\.9\d\d\s+BLEU, 0\.9\d\d to", outputs[1])
    assert re.search(r"Agreement\s+100 %", outputs[1])
    menu = page.locator(".output .alternatives").first
    menu.get_by_text("Alternatives").click()
    menu.locator("li").first.wait_for()
    assert "Die Kinder spielen in dem Garten" in menu.inner_text()
    assert visitor.serious_violations() == []


def test_an_output_is_written_while_it_is_generated(visitor: Visitor) -> None:
    page = visitor.open(
        "?task=translation&variant=original&text=" + quote("The train was late. We waited at the station.")
    )
    page.evaluate(WATCH_OUTPUT)

    page.get_by_role("button", name="Run").click()
    page.locator(".figure", has_text="Time").get_by_text("ms").wait_for()

    # The output grew in several steps.
    lengths = [len(text.strip()) for text in page.evaluate("window.seen")]
    assert len(set(lengths)) > 3


def test_words_that_differ_from_the_reference_are_marked(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote(f"{DIFFERING} <img src=x onerror=alert(1)><b>Yes.</b>"))

    page.get_by_role("button", name="Run").click()
    page.locator(".output ins").first.wait_for()
    violations = visitor.serious_violations()
    reference, other = page.locator(".output-text").all()
    added = "".join(other.locator("ins").all_inner_texts())
    page.get_by_role("switch", name="Mark what differs").uncheck()

    assert violations == []
    # Tags in a text are shown as text, never as elements.
    assert page.locator("main img, main b").count() == 0
    assert reference.locator("ins, del").count() == 0
    assert added
    assert added not in reference.inner_text()
    assert other.locator("ins, del").count() == 0


def test_what_is_copied_or_selected_is_the_output_alone(visit: Visit, service: Service) -> None:
    wanted = service.post("/translate?variant=compact", {"text": DIFFERING}).json["outputs"][0]["text"]
    with visit(permissions=["clipboard-read", "clipboard-write"]) as visitor:
        page = visitor.open(TWO + quote(DIFFERING))
        page.get_by_role("button", name="Run").click()
        page.locator(".output del").first.wait_for()

        page.get_by_role("button", name="Copy", exact=True).nth(1).click()
        page.get_by_role("button", name="Copied", exact=True).wait_for()
        copied = page.evaluate("navigator.clipboard.readText()")
        page.locator(".output-text p").nth(1).evaluate("element => getSelection().selectAllChildren(element)")

        assert copied == page.evaluate("getSelection().toString()") == wanted


def test_outputs_come_back_with_the_back_button_a_link_and_the_last_runs(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote(DIFFERING))
    page.get_by_role("button", name="Run").click()
    page.get_by_role("heading", name="Last runs").wait_for()
    shown = page.locator(".output-text").all_inner_texts()

    def open_variants() -> None:
        page.get_by_role("navigation").get_by_role("link", name="Variants").click()
        page.get_by_role("heading", name="Variants", level=1).wait_for()

    open_variants()
    page.go_back()
    page.get_by_role("button", name="compact: Good").wait_for()
    after_back = page.locator(".output-text").all_inner_texts()
    open_variants()
    page.get_by_role("navigation").get_by_role("link", name="Playground").click()
    page.get_by_role("button", name="compact: Good").wait_for()
    after_link = page.locator(".output-text").all_inner_texts()
    page.goto("about:blank")
    visitor.open("?task=summarization")
    page.get_by_role("button", name=DIFFERING).click()
    page.get_by_role("button", name="compact: Good").wait_for()
    from_runs = page.locator(".output-text").all_inner_texts()
    page.get_by_role("button", name="Clear").click()

    assert after_back == after_link == from_runs == shown
    assert page.get_by_role("heading", name="Last runs").count() == 0


def test_an_output_that_was_generated_once_more_says_so(visitor: Visitor) -> None:
    loop = "No, no, no, no, no, you must not go there, no, no, no."
    page = visitor.open("?task=translation&variant=quantized&text=" + quote(loop))

    page.get_by_role("button", name="Run").click()
    page.get_by_text("Repaired. The first output had: Repetition.").wait_for()

    assert page.locator(".warnings li").count() == 1
    assert visitor.serious_violations() == []


def test_summaries_are_compared_too(visitor: Visitor) -> None:
    page = visitor.open("?task=summarization&variant=original&variant=quantized")

    page.get_by_role("button", name="Night ferry").click()
    page.get_by_role("button", name="Run").click()
    page.get_by_text("Agreement is ROUGE-L").wait_for()
    page.get_by_text(re.compile("^[0-9.]+ %$")).wait_for()

    assert "ferry" in page.locator(".output-text").nth(1).inner_text()


@pytest.mark.parametrize(("view", "name"), [("", "constructor"), ("", "__proto__"), ("variants", "nothing")])
def test_an_address_with_a_name_that_does_not_exist_opens_the_defaults(visitor: Visitor, view: str, name: str) -> None:
    page = visitor.open(f"{view}?task={name}&x={name}&format={name}&protect={name}&variant={name}")

    assert page.locator(".problem").count() == 0
    assert page.get_by_role("radio", name="Translation").is_visible()


def test_a_variant_without_confidence_says_why(visitor: Visitor, service: Service) -> None:
    listed = service.get("/variants").json
    for each in listed["variants"]:
        each["confidence"] = {"is_used": each["variant"] == "original"} if each["variant"] != "pruned" else None
    visitor.answer("/variants", listed)
    page = visitor.open("?task=translation&variant=original&variant=pruned&variant=compact&text=Hello.")

    notes = page.locator(".figure", has_text="Confidence").all_inner_texts()

    assert [" ".join(note.split()) for note in notes] == [
        "Confidence \N{EN DASH}",
        "Confidence \N{EN DASH} says too little here",
        "Confidence \N{EN DASH} not calibrated",
    ]


def test_everything_works_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=original")
    page.get_by_label("English text").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("Good night.")
    # Moves the focus from field to field until it is on the checkbox of compact.
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


def test_a_problem_is_shown_in_the_words_of_the_service(visitor: Visitor) -> None:
    problem = {"type": "/problems/overloaded", "title": "Overloaded", "status": 429, "detail": "4096 rows are queued"}
    page = visitor.open(TWO + "Hello.")
    visitor.answer("/translate", problem, 429, "application/problem+json")

    page.get_by_role("button", name="Run").click()
    page.get_by_text("Failed").nth(1).wait_for()

    assert page.locator(".output-error").first.inner_text() == "4096 rows are queued"


def test_an_output_is_rated_once(visitor: Visitor, service: Service) -> None:
    page = visitor.open("?task=translation&variant=original&text=Hello.")
    page.get_by_role("button", name="Run").click()

    with page.expect_request("**/feedback") as rated:
        page.get_by_role("button", name="original: Good").click()
    page.get_by_text("Thank you.").wait_for()

    body = rated.value.post_data_json
    assert body
    assert body["rating"] == 1
    assert service.post("/feedback", body).problem.title == "Conflict"
    assert page.get_by_role("button", name="original: Good").get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="original: Poor").is_disabled()


def test_what_may_be_wrong_with_an_output_is_said_below_it(visit: Visit) -> None:
    german = "Die Kinder spielen im Garten, und der alte Hund schläft lange in der warmen Sonne."
    with visit(color_scheme="dark", viewport={"width": 360, "height": 800}) as visitor:
        page = visitor.open(TWO + quote(german))
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Outputs with warnings: 2.").wait_for(state="attached")

        said = page.get_by_role("list", name="Warnings").all_inner_texts()
        assert all("Other language. The text seems to be in German. The model reads English." in each for each in said)
        assert len(said) == 2
        assert page.locator(".warnings[lang=en]").count() == 2
        assert visitor.serious_violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_buttons_stay_in_sight_when_the_outputs_come(visitor: Visitor) -> None:
    page = visitor.open("?task=translation&variant=quantized&text=Good%20morning.")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="quantized: Good").wait_for()

    top = page.get_by_role("button", name="Run", exact=True).bounding_box()
    text = page.locator(".output-text").bounding_box()

    assert top is not None
    assert text is not None
    assert top["y"] > 60
    assert text["y"] + text["height"] <= 900


def test_a_copied_link_says_when_it_lacks_the_text(visit: Visit) -> None:
    with visit(permissions=["clipboard-read", "clipboard-write"]) as visitor:
        page = visitor.open("?task=translation&variant=quantized&text=Hello.")
        page.get_by_role("button", name="Copy link").click()
        page.get_by_role("button", name="Copied", exact=True).wait_for()
        short = page.evaluate("navigator.clipboard.readText()")
        page.locator("#text").fill("Good morning. " * 200)
        page.get_by_role("button", name="Copied").wait_for(state="hidden")

        page.get_by_role("button", name="Copy link").click()
        page.get_by_role("button", name="Copied without the text, which is too long").wait_for()
        long = page.evaluate("navigator.clipboard.readText()")

        assert page.locator("#announcer").inner_text() == "Copied without the text, which is too long"
    assert "text=Hello." in short
    assert "text=" not in long
    assert "variant=quantized" in long


def test_a_vote_is_blind_until_it_is_cast(visitor: Visitor, service: Service) -> None:
    page = visitor.open(TWO + quote(DIFFERING))
    page.get_by_role("button", name="Vote blind").click()
    page.get_by_role("button", name="Show names").wait_for()

    unnamed = page.locator(".outputs").inner_text()
    violations = visitor.serious_violations()
    preferred = page.locator(".output-text").nth(1).inner_text()
    with page.expect_request("**/feedback") as voted:
        page.get_by_role("button", name="B is better").click()
    page.locator("main").get_by_text("Thank you: you preferred").wait_for()

    body = voted.value.post_data_json
    name = body["preferred"] if body else ""
    assert "original" not in unnamed
    assert "compact" not in unnamed
    assert violations == []
    assert service.post(f"/translate?variant={name}", {"text": DIFFERING}).json["outputs"][0]["text"] == preferred
    second = page.locator(".output").nth(1).inner_text()
    assert name in second
    assert "your choice" in second
    assert "Retention" in second
    assert page.locator(".output ins").count() > 0
    assert service.post("/feedback", body).problem.title == "Conflict"


def test_outputs_may_be_equally_good(visitor: Visitor, service: Service) -> None:
    page = visitor.open(TWO + quote(DIFFERING))
    page.get_by_role("button", name="Vote blind").click()

    with page.expect_request("**/feedback") as voted:
        page.get_by_role("button", name="Equally good").click()
    page.locator("main").get_by_text("you found the outputs equally good").wait_for()

    body = voted.value.post_data_json
    assert body
    assert body["preferred"] is None
    assert page.locator(".output ins").count() > 0
    assert service.post("/feedback", body).problem.title == "Conflict"


def test_equal_outputs_are_a_tie_by_themselves(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote("The children are playing in the garden."))

    with page.expect_request("**/feedback") as voted:
        page.get_by_role("button", name="Vote blind").click()
    page.locator("main").get_by_text("All outputs are the same text: a tie.").wait_for()

    body = voted.value.post_data_json
    assert body
    assert body["preferred"] is None
    assert sorted(page.locator(".output h3").all_inner_texts()) == ["compact", "original"]


def test_a_vote_is_cast_with_the_keyboard(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote(DIFFERING))
    page.get_by_role("button", name="Vote blind").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show names").wait_for()

    page.get_by_role("button", name="Show names").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("main").get_by_text("Thank you: you preferred").wait_for()

    assert page.locator(".output").first.get_by_text("your choice").is_visible()
    assert page.evaluate("document.activeElement.id") == "outputs-title"
