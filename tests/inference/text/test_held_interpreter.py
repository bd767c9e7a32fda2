"""No step of planning and assembly holds the interpreter for long, at the largest text that a request may have.

These tests run alone: beside others the thread that measures a hold waits for a core, and the hold looks longer.
"""

from functools import partial

import pytest

from tests.holds import measure
from tests.inference.text.steps import REQUESTS, STEPS, TRIES, Step, text_of

# How long a step may hold the interpreter: a client does not notice, and health checks are answered.
MOST_HOLD_SECONDS = 0.05
# Repeated characters that take little time, but may hold the interpreter long, since one call goes through all of them.
AT_THE_LIMIT = (" ", "é", "1")


@pytest.mark.parametrize("unit", AT_THE_LIMIT, ids=ascii)
def test_no_step_holds_the_interpreter_at_the_limit_of_a_request(unit: str) -> None:
    assert [name for name, step in STEPS.items() if holds_long(step, unit)] == []


# What takes seconds: words and signs of which each is a span.
@pytest.mark.parametrize("unit", ["Éa ", "\ue000"], ids=ascii)
def test_no_request_holds_the_interpreter_at_the_limit(unit: str) -> None:
    assert [name for name, step in REQUESTS.items() if holds_long(step, unit)] == []


def holds_long(step: Step, unit: str) -> bool:
    text = text_of(("x", unit), step.characters)
    holds = (measure(partial(step.work, text)).longest_hold for _ in range(TRIES))
    return all(hold > MOST_HOLD_SECONDS for hold in holds)


def test_a_step_that_holds_the_interpreter_is_found() -> None:
    assert holds_long(Step(lambda text: sorted(8 * (text + text[::-1]))), "é1")
    assert not holds_long(Step(lambda text: [each for each in text if each == "é"]), "é1")
