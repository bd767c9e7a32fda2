"""No step of planning and assembly takes more than linear time, or holds the interpreter, whatever a text repeats.

Short texts show which step and which repetition are worth a longer look: all that seem slow, and the slowest of each
step. What the longer texts say counts. A suspicion is confirmed three times, since other work on the machine slows some
runs down.
"""

import ast
import gc
import re
import sys
import time
from functools import partial
from itertools import combinations, product
from pathlib import Path
from types import FrameType

import pytest

from slimseq.inference import text as texts
from tests.holds import measure
from tests.inference.text.steps import REQUESTS, STEPS, Step

# Where four times the text takes six times as long, longer texts decide. A step that is quadratic takes 16 times.
TIMES, SUSPICIOUS, NOISE_SECONDS = 4, 6, 0.0005
CHARACTERS, MORE, ALLOWED, LONG_NOISE_SECONDS = 10_000, 40_000, 8, 0.005
TRIES = 3
# At the largest text that a request may have.
MOST_HOLD_SECONDS = 0.05

# One character of each class that a step treats in its own way.
LETTERS, SIGNS, SPACES, MARKUP = "aAé中", '1.,-"☺', " \n\u2028", "<&*_[]`|\\"
WITHOUT_WIDTH = "\u00ad\u0301\0"
# What has a meaning as a whole.
WORDS = (
    *("word ", "a. ", "a\n\n", "a  \n", "\x0b\x85\u2028", "1, ", "12 3", "3 pm ", "May 3, ", "£5 ", "no. 1 "),
    *("a@b.de ", "http://a.de/x ", "approx. ", "e.g. ", "Éa ", "Müller ", "ha", "cheap, ", "1\u200b2 3 ", "中."),
    *("Łódź-", "Montag", "on Thursday.61 ", "+49 ", "2019-01-01", "A4-", "x.py ", "5′"),  # noqa: RUF001
    *("<b>", "<b>a</b> ", "<p>a", "a<br>", "<!--", "&amp;", "![", "](a)", "*a* ", "> ", "- ", "# a\n\n", "[^1]"),
)  # fmt: skip
# Each of these was slow once.
ONCE_SLOW = (
    *(("See http://a.com/", "!"), ("It costs £12 at http://a.com/", "."), ("x", "-!"), ("x", "☺!"), ("x", "“")),
    *(("x", ". "), ("x", "a\u00ad")),
)
# What takes little time and holds the interpreter long, since one call goes through all of it.
AT_THE_LIMIT = (" ", "é", "1")


def repetitions_for(name: str) -> list[tuple[str, str]]:
    """Returns what comes first, and what is repeated after it: characters, each after another, pairs, and words."""
    plain = LETTERS + SIGNS + SPACES + WITHOUT_WIDTH
    if name in REQUESTS:
        return [("x", unit) for unit in (*plain, *MARKUP, *WORDS)]
    characters = "a. \n" + MARKUP if name.startswith("rewrite") else plain
    singles = list(product(characters, characters))
    pairs = [("x", first + second) for first, second in combinations(characters, 2)]
    return [*singles, *pairs, *(("x", word) for word in WORDS), *ONCE_SLOW]


def text_of(repetition: tuple[str, str], characters: int) -> str:
    """Returns a text that ends with a letter, since spaces at its end would be no part of it."""
    start, unit = repetition
    return f"{start}{unit * ((characters - 2) // len(unit))}y"


@pytest.mark.parametrize("name", [*STEPS, *REQUESTS])
def test_no_step_takes_more_than_linear_time(name: str) -> None:
    assert slow_repetitions({**STEPS, **REQUESTS}[name], repetitions_for(name)) == []


def slow_repetitions(step: Step, tried: list[tuple[str, str]]) -> list[str]:
    step.work("A word.")
    found = {each: short_seconds(step, each) for each in tried}
    slowest = max(found, key=lambda each: found[each][1])
    looked_at = [each for each in tried if each == slowest or is_suspicious(step, each, found[each])]
    return [ascii(each) for each in looked_at if not any(is_linear(step, each) for _ in range(TRIES))]


def short_seconds(step: Step, repetition: tuple[str, str]) -> tuple[float, float]:
    many = step.tried_characters
    return seconds(step, repetition, many // TIMES), seconds(step, repetition, many)


def is_suspicious(step: Step, repetition: tuple[str, str], found: tuple[float, float]) -> bool:
    for _ in range(TRIES):
        few, many = found
        if many <= SUSPICIOUS * few + NOISE_SECONDS:
            return False
        found = short_seconds(step, repetition)
    return True


def is_linear(step: Step, repetition: tuple[str, str]) -> bool:
    few = seconds(step, repetition, CHARACTERS)
    return seconds(step, repetition, MORE) < ALLOWED * few + LONG_NOISE_SECONDS


def seconds(step: Step, repetition: tuple[str, str], characters: int) -> float:
    text = text_of(repetition, characters)
    gc.disable()
    try:
        started = time.thread_time()
        step.work(text)
        return time.thread_time() - started
    finally:
        gc.enable()


@pytest.mark.parametrize("unit", AT_THE_LIMIT, ids=ascii)
def test_no_step_holds_the_interpreter_at_the_limit_of_a_request(unit: str) -> None:
    assert [name for name, step in STEPS.items() if holds_long(step, unit)] == []


# What takes seconds: words and signs of which each is a span.
@pytest.mark.slow
@pytest.mark.parametrize("unit", ["Éa ", "\ue000"], ids=ascii)
def test_no_request_holds_the_interpreter_at_the_limit(unit: str) -> None:
    assert [name for name, step in REQUESTS.items() if holds_long(step, unit)] == []


def holds_long(step: Step, unit: str) -> bool:
    text = text_of(("x", unit), step.characters)
    holds = (measure(partial(step.work, text)).longest_hold for _ in range(TRIES))
    return all(hold > MOST_HOLD_SECONDS for hold in holds)


def test_every_module_that_reads_texts_is_reached_by_a_step() -> None:
    sample = "<p>Mr. Müller pays $12 for a word, approx. 3 km away.</p>\n\n* It's *bold* `code`, see http://a.de.\n"
    long = "We went home and " * 30
    reached: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        reached.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        for step in (*STEPS.values(), *REQUESTS.values()):
            step.work(sample + long)
    finally:
        sys.setprofile(None)

    [folder] = map(Path, texts.__path__)
    missing = {path.name for path in folder.rglob("*.py") if has_functions(path) and str(path) not in reached}
    # The glossaries of an operator are read from files.
    assert missing == {"glossary_files.py"}


def has_functions(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def test_a_step_that_is_quadratic_is_found() -> None:
    step = Step(lambda text: re.search(r"\s+z", text[::4]))

    assert slow_repetitions(step, [("x", "a"), ("x", " "), ("x", ".")]) == [ascii(("x", " "))]


def test_a_step_that_holds_the_interpreter_is_found() -> None:
    assert holds_long(Step(lambda text: sorted(text + text[::-1])), "é1")
    assert not holds_long(Step(lambda text: [each for each in text if each == "é"]), "é1")
