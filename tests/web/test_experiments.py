"""The views of experiments: start, watch, vote, read, stop, promote."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.client import Service
from tests.web.conftest import Visit, Visitor

ARMS = [{"variant": "compact", "weight": 3}, {"variant": "original", "weight": 1}]
TEXT = {"text": "Good morning.", "num_beams": 1}
# So many equal votes decide an experiment.
VOTES_TO_DECIDE = 40


@pytest.fixture(autouse=True)
def stop_experiments(service: Service) -> Iterator[None]:
    """Stops the experiments of a test after it, because a task has one running experiment at most."""
    yield
    for each in service.get("/experiments").json["experiments"]:
        service.post(f"/experiments/{each['id']}/stop", {})


def start_experiment(service: Service, name: str = "Is compact enough?", **changes: Any) -> str:
    answer = service.post("/experiments", {"task": "translation", "name": name, "arms": ARMS, **changes})
    assert answer.status == 201, answer.text
    identifier: str = answer.json["id"]
    return identifier


def vote(service: Service, preferred: str, count: int = 1) -> None:
    for _ in range(count):
        compared = service.post("/compare?task=translation&variant=original&variant=compact", TEXT).json
        assert service.post("/feedback", {"comparison": compared["id"], "preferred": preferred}).status == 201


def rate(service: Service, count: int) -> None:
    """Rates some answers to requests of different units, at random but the same each time."""
    for number in range(count):
        answer = service.post("/translate", TEXT, {"X-Slimseq-Unit": f"{number}"}).json
        rating = random.Random(number).random()
        assert service.post("/feedback", {"response": answer["id"], "rating": rating}).status == 201


def test_an_experiment_is_started_and_stopped(visitor: Visitor, service: Service) -> None:
    page = visitor.open("experiments")
    page.get_by_label("Name").fill("Is compact enough?")
    page.get_by_label("Weight of compact").fill("3")
    page.get_by_label("Margin of equivalence").fill("0.1")
    page.get_by_role("radio", name="Promote it").check()
    page.get_by_role("switch", name="Losing arms").check()

    page.get_by_role("button", name="Start").click()
    page.get_by_role("heading", name="Is compact enough?").wait_for()
    text = page.locator("main").inner_text()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop for good").click()
    page.get_by_text("stopped", exact=True).wait_for()

    (newest, *_) = service.get("/experiments").json["experiments"]
    assert "there is no feedback for two arms yet" in text
    assert "75 %" in text
    assert "margin of equivalence 0.1" in text
    assert page.url.endswith(newest["id"])
    assert newest["status"] == "stopped"
    assert (newest["when_decided"], newest["drop_losing"]) == ("promote", True)
    assert "promotes the arm" in text
    assert page.get_by_role("button", name="Stop").count() == 0


def test_the_arm_that_is_ahead_is_promoted_after_a_confirmation(visitor: Visitor, service: Service) -> None:
    identifier = start_experiment(service)
    vote(service, "compact", VOTES_TO_DECIDE)
    page = visitor.open(f"experiments/{identifier}")
    votes = page.locator("section", has=page.get_by_role("heading", name="Votes")).inner_text()
    verdict = page.locator(".verdict-words").inner_text()

    page.get_by_role("button", name="Promote compact").click()
    page.keyboard.press("Enter")
    focused = page.evaluate("document.activeElement.textContent")
    page.get_by_role("button", name="Promote compact").click()
    page.get_by_role("button", name="Promote it").click()
    page.get_by_text("It promoted compact.").wait_for()

    assert verdict.startswith("compact is ahead of original.")
    assert "compact is ahead" in votes
    assert "100.0 %" in votes
    assert f"{VOTES_TO_DECIDE} of {VOTES_TO_DECIDE}" in votes
    assert focused == "Promote compact"
    assert page.get_by_role("button", name="Promote").count() == 0
    assert service.post("/translate", TEXT).json["variant"] == "compact"
    visitor.open("variants").get_by_text(f"Reason: experiment {identifier} promoted compact").wait_for()
    assert service.delete(f"/experiments/{identifier}").status == 204


def test_an_experiment_is_not_stopped_without_a_confirmation(visitor: Visitor, service: Service) -> None:
    identifier = start_experiment(service)
    page = visitor.open(f"experiments/{identifier}")

    page.get_by_role("button", name="Stop").click()
    focused = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")

    assert focused == "Keep it running"
    assert page.evaluate("document.activeElement.textContent") == "Stop"
    assert service.get(f"/experiments/{identifier}").json["status"] == "running"


def test_traffic_ratings_and_their_intervals_are_those_of_the_service(visitor: Visitor, service: Service) -> None:
    identifier = start_experiment(service)
    rate(service, 20)
    report = service.get(f"/experiments/{identifier}").json

    page = visitor.open(f"experiments/{identifier}")

    rows = page.locator("tbody tr").all_inner_texts()
    for row, arm in zip(rows, report["arms"], strict=True):
        ratings = arm["ratings"]
        low, high = ratings["interval"]
        assert row.split()[:5] == [arm["variant"], f"{arm['share'] * 100:.0f}", "%", str(arm["responses"]), "0"]
        assert f"{ratings['mean']:.2f} {low:.2f} to {high:.2f}" in row
        assert row.endswith(str(ratings["count"]))
    [pair] = report["pairs"]
    difference = f"{pair['ratings']['difference']:+.3f}".replace("-", "\N{MINUS SIGN}")
    assert difference in page.locator(".pair").inner_text()


def test_the_view_of_a_running_experiment_shows_new_votes(visitor: Visitor, service: Service) -> None:
    identifier = start_experiment(service)
    page = visitor.open(f"experiments/{identifier}")

    vote(service, "original")

    page.get_by_text("0 of 1 votes").wait_for()


def test_a_second_experiment_of_a_task_is_refused_with_a_link_to_the_first(visitor: Visitor, service: Service) -> None:
    identifier = start_experiment(service, "The first one")
    page = visitor.open("experiments")
    page.get_by_label("Name").fill("The second one")

    page.get_by_role("button", name="Start").click()
    page.get_by_role("link", name="Open The first one").click()

    page.get_by_role("heading", name="The first one").wait_for()
    assert page.url.endswith(identifier)


def test_a_blind_vote_counts_for_the_running_experiment(visitor: Visitor, service: Service) -> None:
    identifier = start_experiment(service)
    page = visitor.open(f"experiments/{identifier}")
    page.get_by_role("link", name="Vote in the playground").click()
    page.get_by_label("English text").fill("The train was late again. We waited at the station.")
    page.get_by_role("button", name="Vote blind").click()

    page.get_by_role("button", name="A is better").click()
    page.get_by_role("link", name="a running experiment").click()

    page.get_by_text("of 1 votes").wait_for()
    assert page.url.endswith(identifier)


@pytest.mark.parametrize(
    ("theme", "size"), [("light", (1280, 900)), ("dark", (360, 740))], ids=["light laptop", "dark phone"]
)
def test_an_experiment_is_accessible_and_fits_a_phone(
    visit: Visit, service: Service, theme: Any, size: tuple[int, int]
) -> None:
    identifier = start_experiment(service)
    vote(service, "compact")
    rate(service, 8)
    with visit(color_scheme=theme, viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce") as visitor:
        page = visitor.open(f"experiments/{identifier}")
        violations = visitor.serious_violations()
        width = page.evaluate("document.documentElement.scrollWidth")

    assert violations == []
    assert width <= size[0]
