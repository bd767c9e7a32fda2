"""Each regular expression of the package takes time that is linear in the text, whatever the text is."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pattern_attacks import Attack, alternatives, attacks
from tests.pattern_sources import MADE_OF_DATA, compiled, hidden_imports, made_of_data, written_in_functions

# Texts of so many characters are tried first. Where four times the text takes six times as long, which is rare, longer
# ones decide.
FEW, MANY = 300, 1200
SUSPICIOUS = 6
NOISE_SECONDS = 0.00002
# What no search takes, unless each character doubles its time, or a repetition is within a repetition.
FEWEST, FEWEST_SECONDS = 20, 0.002
MANY_SECONDS = 0.05
# What decides. A search that is quadratic takes 16 times as long for four times the text.
CHARACTERS, MORE = 10_000, 40_000
ALLOWED = 8
LONG_NOISE_SECONDS = 0.005
# No noise takes so many times as long.
CLEARLY = 1.5
# Of the shorter text. The largest pattern takes 0.02 s.
MOST_SECONDS = 0.1


def test_every_pattern_takes_linear_time() -> None:
    inline, _ = written_in_functions()
    patterns = compiled() | inline | made_of_data()
    faults: list[str] = []
    tried: set[str] = set()

    for name, pattern in patterns.items():
        for part, tree in alternatives(pattern):
            # Several patterns have alternatives in common.
            key = f"{pattern.flags} {tree!r}"
            if key not in tried:
                tried.add(key)
                faults += (f"{name}: {attack}" for attack in slow_attacks(pattern, part, tree))

    assert len(patterns) > 70 and len(tried) > 150
    assert faults == []


def slow_attacks(pattern: re.Pattern[Any], part: re.Pattern[Any], tree: Any) -> Iterator[Attack]:
    """Yields the first text that takes a pattern long, found by one of its alternatives."""
    for attack in attacks(tree, pattern.flags):
        if is_suspicious(part, attack) and (is_hopeless(part, attack) or not is_linear(pattern, attack)):
            yield attack
            return


def is_suspicious(pattern: re.Pattern[Any], attack: Attack) -> bool:
    fewest, short, long = (as_read(pattern, attack.text(characters)) for characters in (FEWEST, FEW, MANY))
    if all(seconds(pattern, fewest) > FEWEST_SECONDS for _ in range(3)):
        return True
    # Most texts are measured once.
    return all(seconds(pattern, long) > SUSPICIOUS * seconds(pattern, short) + NOISE_SECONDS for _ in range(3))


def is_hopeless(pattern: re.Pattern[Any], attack: Attack) -> bool:
    """Whether a pattern takes so long for a short text that a longer one must not be tried."""
    limits = ((FEWEST, FEWEST_SECONDS), (MANY, MANY_SECONDS))
    return any(seconds(pattern, as_read(pattern, attack.text(characters))) > most for characters, most in limits)


def is_linear(pattern: re.Pattern[Any], attack: Attack) -> bool:
    short, long = (as_read(pattern, attack.text(characters)) for characters in (CHARACTERS, MORE))
    for _ in range(3):
        before = min(seconds(pattern, short) for _ in range(2))
        if before > MOST_SECONDS:
            return False
        bound = ALLOWED * before + LONG_NOISE_SECONDS
        took = seconds(pattern, long)
        if took < bound or took > CLEARLY * bound:
            return took < bound
    return False


def seconds(pattern: re.Pattern[Any], text: Any) -> float:
    started = time.thread_time()
    use(pattern, text)
    return time.thread_time() - started


def use(pattern: re.Pattern[Any], text: Any) -> None:
    """Searches a text to its end, as `finditer`, `sub`, `split` and a search that fails do, and matches all of it."""
    for _ in pattern.finditer(text):
        pass
    pattern.fullmatch(text)


def as_read(pattern: re.Pattern[Any], text: str) -> str | bytes:
    return text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text


def test_no_pattern_is_hidden_from_this_test() -> None:
    _, unknown = written_in_functions()

    assert hidden_imports() == []
    assert set(unknown) == set(MADE_OF_DATA), "compile it at the top of its module, or say here what it may be"


@pytest.mark.parametrize(
    "text", [r"\s*[\r\n]\s*", r"[.,:;!?…]+$", r"\[\^[^\]\s]+\]", r"<b>.*</b>", r"a.*b.*c", r"(?:ab)+c", r"A(\d+)+Z"]
)
def test_a_slow_pattern_is_found_wherever_its_repetition_begins(text: str) -> None:
    [(pattern, tree)] = alternatives(re.compile(text))

    assert any(is_suspicious(pattern, attack) for attack in attacks(tree, pattern.flags))


def test_longer_texts_decide_whether_a_pattern_is_slow() -> None:
    spaces = Attack("", " ", "a")

    assert is_linear(re.compile(r" +a"), spaces) and not is_linear(re.compile(r" +b"), spaces)
