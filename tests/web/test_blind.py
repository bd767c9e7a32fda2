"""The playground, blind: outputs without names, a vote, then the names."""

from urllib.parse import quote

from tests.service.client import Service
from tests.web.conftest import DIFFERING, TWO, Visitor


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
    assert "original" not in unnamed and "compact" not in unnamed
    assert violations == []
    assert service.post(f"/translate?variant={name}", {"text": DIFFERING}).json["outputs"][0]["text"] == preferred
    second = page.locator(".output").nth(1).inner_text()
    assert name in second and "your choice" in second and "Retention" in second
    assert page.locator(".output ins").count() > 0
    assert service.post("/feedback", body).problem.title == "Already judged"


def test_outputs_may_be_equally_good(visitor: Visitor, service: Service) -> None:
    page = visitor.open(TWO + quote(DIFFERING))
    page.get_by_role("button", name="Vote blind").click()

    with page.expect_request("**/feedback") as voted:
        page.get_by_role("button", name="Equally good").click()
    page.locator("main").get_by_text("you found the outputs equally good").wait_for()

    body = voted.value.post_data_json
    assert body and body["preferred"] is None
    assert page.locator(".output ins").count() > 0
    assert service.post("/feedback", body).problem.title == "Already judged"


def test_equal_outputs_are_a_tie_by_themselves(visitor: Visitor) -> None:
    page = visitor.open(TWO + quote("The children are playing in the garden."))

    with page.expect_request("**/feedback") as voted:
        page.get_by_role("button", name="Vote blind").click()
    page.locator("main").get_by_text("All outputs are the same text: a tie.").wait_for()

    body = voted.value.post_data_json
    assert body and body["preferred"] is None

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
