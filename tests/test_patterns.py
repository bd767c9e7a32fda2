"""Each regular expression of the package takes time that is linear in the text, whatever the text is."""

import re
import time
from typing import Any

import pytest

from tests.pattern_attacks import Attack, alternatives, attacks
from tests.pattern_sources import MADE_OF_DATA, compiled, hidden_imports, made_of_data, written_in_functions

# Most texts are measured with few characters first. A pattern is suspicious if four times the text takes more than six
# times as long, which noise makes rare. Then longer texts decide.
FEW, MANY = 300, 1200
SUSPICIOUS_RATIO = 6
NOISE_SECONDS = 0.00002
# A search that takes longer than this for so few characters doubles its time with each character, or has a repetition
# within a repetition. A longer text would take forever.
FEWEST, FEWEST_SECONDS = 20, 0.002
MANY_SECONDS = 0.05
# The deciding measurement. For four times the text, a linear search takes 4 times as long, a quadratic one 16 times.
SHORT, LONG = 10_000, 40_000
ALLOWED_RATIO = 8
LONG_NOISE_SECONDS = 0.005
# Beyond so many times the bound, a search is slow whatever the noise.
CLEAR_RATIO = 1.5
# Limit for the shorter text. The largest pattern takes 0.02 s.
SHORT_SECONDS = 0.1
# One measurement may be disturbed: a search is slow only if it is so each time.
ATTEMPTS = 3


def test_every_pattern_takes_linear_time() -> None:
    inline, _ = written_in_functions()
    patterns = compiled() | inline | made_of_data()
    faults: list[str] = []
    tried: set[str] = set()

    for name, pattern in patterns.items():
        for part, tree in alternatives(pattern):
            # Several patterns have alternatives in common.
            key = f"{pattern.flags} {tree!r}"
            if key in tried:
                continue
            tried.add(key)
            attack = find_slow_attack(pattern, part, tree)
            if attack is not None:
                faults.append(f"{name}: {attack}")

    assert faults == []
    # The package has about so many: none was overlooked.
    assert len(patterns) > 70
    assert len(tried) > 150


def find_slow_attack(pattern: re.Pattern[Any], part: re.Pattern[Any], tree: Any) -> Attack | None:
    """Returns a text on which a pattern is slow, made for one of its alternatives (`part`, parsed as `tree`)."""
    for attack in attacks(tree, pattern.flags):
        if is_suspicious(part, attack) and (is_hopeless(part, attack) or not is_linear(pattern, attack)):
            return attack
    return None


def is_suspicious(pattern: re.Pattern[Any], attack: Attack) -> bool:
    """Whether short texts give reason to measure long ones. Most texts are measured once, since `all` ends early."""
    fewest, short, long = (as_read(pattern, attack.text(characters)) for characters in (FEWEST, FEW, MANY))
    if all(seconds(pattern, fewest) > FEWEST_SECONDS for _ in range(ATTEMPTS)):
        return True
    return all(
        seconds(pattern, long) > SUSPICIOUS_RATIO * seconds(pattern, short) + NOISE_SECONDS for _ in range(ATTEMPTS)
    )


def is_hopeless(pattern: re.Pattern[Any], attack: Attack) -> bool:
    """Whether a pattern takes so long for a short text that a longer one must not be tried."""
    limits = ((FEWEST, FEWEST_SECONDS), (MANY, MANY_SECONDS))
    return any(seconds(pattern, as_read(pattern, attack.text(characters))) > most for characters, most in limits)


def is_linear(pattern: re.Pattern[Any], attack: Attack) -> bool:
    """Whether a long text takes no more than its share of time. Measures again where the answer is close."""
    short, long = (as_read(pattern, attack.text(characters)) for characters in (SHORT, LONG))
    for _ in range(ATTEMPTS):
        before = min(seconds(pattern, short) for _ in range(2))
        if before > SHORT_SECONDS:
            return False
        bound = ALLOWED_RATIO * before + LONG_NOISE_SECONDS
        took = seconds(pattern, long)
        if took < bound or took > CLEAR_RATIO * bound:
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
    """Returns the text as bytes where the pattern is one of bytes."""
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

    assert is_linear(re.compile(r" +a"), spaces)
    # From each space, it searches all others for a `b` that never comes.
    assert not is_linear(re.compile(r" +b"), spaces)
