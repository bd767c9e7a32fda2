"""No step of planning and assembly takes more than linear time, whatever a text repeats.

Short texts of many repetitions, and longer ones of a few, show what is worth a closer look. Then two longer texts
decide. A suspicion is confirmed three times, since other work on the machine slows some runs down.
"""

import ast
import gc
import re
import sys
import time
from itertools import combinations, product
from pathlib import Path
from types import FrameType

import pytest

from slimseq.inference import text as texts
from tests.inference.text.steps import REQUESTS, STEPS, TRIES, Step, text_of

# A step is tried with a short text, and with one that is `TIMES` times as long. A linear step then takes four times as
# long. A quadratic step takes 16 times as long, or less if it does something else as well.
TIMES = 4
# From so many times on, longer texts decide. The added seconds are the noise of one measurement.
SUSPICIOUS, NOISE_SECONDS = 6, 0.0002
# The longer texts, in characters: the second one is `TIMES` times as long.
CHARACTERS, MORE = 10_000, 40_000
# How many times as long a step may take with `MORE` as with `CHARACTERS`, and the noise of one measurement.
ALLOWED, LONG_NOISE_SECONDS = 6, 0.003
# A step that takes no longer than this with `MORE` is tried with `MOST` characters too.
QUICK_SECONDS, MOST = 0.1, 400_000
# How many times as long a step may take with `MOST` as with a fourth of it, where it searches in windows.
ALLOWED_IN_WINDOWS = 10

# One character of each class that a step treats in its own way.
LETTERS, SIGNS, SPACES, MARKUP = "aé中", '1.-"☺', " \n\u2028", "<&*_[]`|\\"
WITHOUT_WIDTH = "\u00ad\u0301\0"
# Characters that have a meaning together.
WORDS = (
    *("word ", "a. ", "a\n\n", "a  \n", "\x0b\x85\u2028", "1, ", "12 3", "3 pm ", "May 3, ", "£5 ", "no. 1 "),
    *("a@b.de ", "http://a.de/x ", "approx. ", "e.g. ", "Éa ", "Müller ", "ha", "cheap, ", "1\u200b2 3 ", "中."),
    *("Łódź-", "Montag", "on Thursday.61 ", "+49 ", "2019-01-01", "A4-", "x.py ", "5′"),  # noqa: RUF001
    *("<b>", "<b>a</b> ", "<p>a", "a<br>", "<!--", "&amp;", "![", "](a)", "*a* ", "> ", "- ", "# a\n\n", "[^1]"),
)  # fmt: skip
# Beginnings and repeated ends of texts, each of which was slow once.
ONCE_SLOW = (
    *(("See http://a.com/", "!"), ("It costs £12 at http://a.com/", "."), ("x", "-!"), ("x", "☺!"), ("x", "“")),
    *(("x", ". "), ("x", "a\u00ad")),
)


def characters_for(name: str) -> str:
    if name.startswith("rewrite"):
        return "a. \n" + MARKUP
    return LETTERS + SIGNS + SPACES + WITHOUT_WIDTH


def all_repetitions(characters: str) -> list[tuple[str, str]]:
    """Returns what comes first, and what is repeated after it: each character after each, pairs, and words."""
    after = list(product(characters, characters))
    pairs = [("x", first + second) for first, second in combinations(characters, 2)]
    words = [("x", word) for word in WORDS]
    return [*after, *pairs, *words, *ONCE_SLOW]


@pytest.mark.parametrize("name", STEPS)
def test_no_step_takes_more_than_linear_time(name: str) -> None:
    characters = characters_for(name)
    longer = [*((each, each) for each in characters), *ONCE_SLOW]

    assert slow_repetitions(STEPS[name], all_repetitions(characters), longer) == []


@pytest.mark.parametrize("name", REQUESTS)
def test_no_request_takes_more_than_linear_time(name: str) -> None:
    units = LETTERS + SIGNS + SPACES + WITHOUT_WIDTH + MARKUP

    assert slow_repetitions(REQUESTS[name], [("x", unit) for unit in (*units, *WORDS)], [("x", "1, ")]) == []


def slow_repetitions(step: Step, tried: list[tuple[str, str]], longer: list[tuple[str, str]]) -> list[str]:
    """Returns the repetitions for which a step is not linear, of those that are tried, and of some in longer texts."""
    step.work("A word.")
    found = {each: short_seconds(step, each) for each in tried}
    suspicious = [each for each in tried if is_suspicious(step, each, found[each])]
    for each in longer:
        _, many_seconds = found[each]
        expected = many_seconds * MORE / step.tried_characters
        # A step that takes so long is found with short texts.
        if expected > QUICK_SECONDS / 2:
            continue
        if seconds(step, each, MORE) > ALLOWED / TIMES * expected + LONG_NOISE_SECONDS:
            suspicious.append(each)
    return [ascii(each) for each in suspicious if not any(is_linear(step, each) for _ in range(TRIES))]


def short_seconds(step: Step, repetition: tuple[str, str]) -> tuple[float, float]:
    """Returns the time of a step with a short text, and with one that is `TIMES` times as long."""
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
    """Decides with longer texts whether a step is linear."""
    few, many = (seconds(step, repetition, characters) for characters in (CHARACTERS, MORE))
    if many < ALLOWED * few + LONG_NOISE_SECONDS:
        return True
    if many > QUICK_SECONDS or step.characters < MOST:
        return False
    # A window of a search may be quadratic. In many windows, time is linear.
    return seconds(step, repetition, MOST) < ALLOWED_IN_WINDOWS * seconds(step, repetition, MOST // TIMES)


def seconds(step: Step, repetition: tuple[str, str], characters: int) -> float:
    text = text_of(repetition, characters)
    gc.disable()
    try:
        started = time.thread_time()
        step.work(text)
        return time.thread_time() - started
    finally:
        gc.enable()


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
    # The glossaries of an operator are read from files. The rules for spans are compiled once, at the import.
    assert missing == {"glossary_files.py", "span_rules.py"}


def has_functions(path: Path) -> bool:
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def test_a_step_that_is_quadratic_is_found() -> None:
    step = Step(lambda text: re.search(r"\s+z", text[::4]), MORE, tried_characters=4000)

    assert slow_repetitions(step, [("x", "a"), ("x", " "), ("x", ".")], []) == [ascii(("x", " "))]


def test_a_step_that_copies_its_text_for_each_word_is_found() -> None:
    step = Step(lambda text: [text[start:].upper() for start in range(len(text))], MORE)

    assert slow_repetitions(step, [("x", "a")], [("x", "a")]) == [ascii(("x", "a"))]
