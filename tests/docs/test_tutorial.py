"""The tutorial's commands run as they are written, and the page shows what they print."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.tutorial import PAGE, Block, blocks_of, terminal
from tests.service.client import Service
from tests.service.conftest import free_port, needs_torch
from tests.web.conftest import ARGUMENTS, CHROMIUM

pytestmark = needs_torch

# A row of the page's table of results: variant, megabytes, retention, speed-up.
RESULT = re.compile(r"^\| ([a-z-]+) \| ([\d.]+) MB \| ([\d.]+) \| [\d.]+ \|$", re.MULTILINE)
# How far a retention may be from the page's: sums in floating point differ between CPUs.
TOLERANCE = 0.05
ORIGINAL, CHOSEN = "portuguese", "portuguese-quantized-greedy"
# What every run leaves. On a busy machine there are fewer sentences to measure on, so that another variant may
# seem as good in everything as `portuguese-quantized`, or another search may seem to be worth a place.
CERTAIN = {ORIGINAL, CHOSEN}
# The command that stops the service.
STOPS = "kill $!"
CHART = re.compile(r"<http://127\.0\.0\.1:8000/(#/variants\S+)>")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def entered(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Block]]:
    """Every block of the page up to the one that stops the service, in an empty folder."""
    blocks = blocks_of(PAGE.read_text(encoding="utf-8"))
    with terminal(tmp_path_factory.mktemp("reader"), port) as shell:
        done = [Block(commands, shown, shell.enter(commands)) for commands, shown in blocks if STOPS not in commands]
        yield done
        [stop] = [commands for commands, _ in blocks if STOPS in commands]
        shell.enter(stop)


def results(page: str) -> dict[str, tuple[float, float]]:
    """Returns megabytes and retention of each variant of the page's table."""
    return {name: (float(megabytes), float(retention)) for name, megabytes, retention in RESULT.findall(page)}


def test_the_page_shows_what_its_commands_print(entered: list[Block]) -> None:
    shown = [block for block in entered if block.shown and not block.shown.startswith('{"variant"')]

    for block in shown:
        printed = " ".join(block.printed.split())
        for line in block.shown.splitlines():
            assert " ".join(line.split()) in printed, block.printed
    assert len(shown) >= 3


def test_compress_chooses_the_variant_that_the_page_names(entered: list[Block], port: int) -> None:
    [compressed] = [block for block in entered if block.commands.startswith("slimseq compress")]

    [front] = Service(port).get("/variants").json["fronts"]

    assert front["chosen"] == CHOSEN
    assert front["is_agreement"]
    assert f"{CHOSEN} is the fastest that is confirmed" in " ".join(compressed.printed.split())


def test_requests_are_answered_as_the_page_shows(entered: list[Block]) -> None:
    answers = [
        (json.loads(block.shown), json.loads(block.printed))
        for block in entered
        if block.shown.startswith('{"variant"')
    ]

    for shown, answered in answers:
        assert answered["variant"] == shown["variant"]
        assert texts(answered) == texts(shown)
        assert rule(answered) == rule(shown)
    assert [shown["variant"] for shown, _ in answers] == [ORIGINAL, CHOSEN]


def test_the_service_knows_the_sizes_and_the_retention_of_the_page(entered: list[Block], port: int) -> None:
    shown = results(PAGE.read_text(encoding="utf-8"))

    served = {each["variant"]: each for each in Service(port).get("/variants").json["variants"]}

    assert shown.keys() >= CERTAIN
    assert served.keys() >= CERTAIN
    for name in shown.keys() & served.keys():
        megabytes, retention = shown[name]
        assert round(served[name]["weights"]["bytes"] / 1e6, 1) == megabytes
        assert served[name]["quality"]["retention"]["value"] == pytest.approx(retention, abs=TOLERANCE)
        if name != ORIGINAL:
            assert served[name]["speed"]["speed_up"] > 0
    assert [name for name, each in served.items() if each["default"]] == [CHOSEN]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_chart_has_the_original_and_the_chosen_variant(entered: list[Block], port: int) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    [chart] = CHART.findall(PAGE.read_text(encoding="utf-8"))

    with sync_api.sync_playwright() as playwright:
        tab = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page()
        tab.goto(f"http://127.0.0.1:{port}/{chart}")
        marks = tab.locator(".plot a.point")
        marks.first.wait_for()
        labels = marks.evaluate_all("marks => marks.map(mark => mark.getAttribute('aria-label'))")

    assert {label.partition(":")[0] for label in labels} >= CERTAIN


def texts(answer: Any) -> list[str]:
    return [output["text"] for output in answer["outputs"]]


def rule(answer: Any) -> str:
    """How the variant was chosen, without its figures and without the number of variants."""
    chosen: str = answer.get("selection", "")
    return re.sub(r" of \d+ variants", "", chosen.partition(":")[0])
