"""The marks of a timed service, and the times of the steps that come out of them."""

import threading
import time

import pytest

from benchmarks.systems.timed_service import IDLE, PROBES, Mark, Probe, measure_requests, note_marks

LOOP, ENGINE = 1, 2


def mark(time_us: int, step: str, thread: int = LOOP, cpu_us: int = 0) -> Mark:
    return Mark(time_us / 1e6, step, thread, cpu_us / 1e6)


# A request that takes 1 ms until its answer is written.
GENERATION = [
    mark(0, "parse"),
    mark(100, "plan", cpu_us=90),
    mark(150, "queue", cpu_us=130),
    mark(160, "switch", cpu_us=135),
    mark(200, "encode", ENGINE, 7000),
    mark(400, "steps", ENGINE, 7200),
    mark(900, "switch", ENGINE, 7700),
    mark(950, "response", cpu_us=145),
    mark(1000, IDLE, cpu_us=190),
    mark(1010, "log", cpu_us=200),
    mark(1040, IDLE, cpu_us=230),
]
PROBE_OF_HEALTH = [mark(0, "parse"), mark(50, "log"), mark(60, IDLE)]


def later(marks: list[Mark], seconds: float) -> list[Mark]:
    return [each._replace(time=each.time + seconds) for each in marks]


def test_time_belongs_to_the_step_of_the_last_mark_on_whatever_thread() -> None:
    [times] = measure_requests(GENERATION, LOOP)

    found = {step: round(us) for step, us in times.time_us.items() if us}
    assert found == {
        **{"parse": 100, "plan": 50, "queue": 10, "switch": 90},
        **{"encode": 200, "steps": 500, "response": 50, "log": 30},
    }


def test_cpu_time_is_that_of_the_event_loop_alone() -> None:
    [times] = measure_requests(GENERATION, LOOP)

    found = {step: round(us) for step, us in times.loop_us.items() if us}
    assert found == {"parse": 90, "plan": 40, "queue": 5, "switch": 10, "response": 45, "log": 30}


def test_requests_are_told_apart_and_those_without_a_generation_left_out() -> None:
    second, open_request = later(GENERATION, 2), later(GENERATION[:5], 3)
    marks = [*later(PROBE_OF_HEALTH, 1), *GENERATION, *second, *open_request]

    first_times, second_times = measure_requests(marks, LOOP)

    assert first_times.time_us == pytest.approx(second_times.time_us)


class Engine:
    """A class whose calls are noted, one of which hands over to another thread."""

    def hand_over(self, seconds: float) -> None:
        thread = threading.Thread(target=self.work)
        thread.start()
        time.sleep(seconds)
        thread.join()

    def work(self) -> int:
        return 7


def test_a_function_begins_a_step_and_returns_what_it_did_before(monkeypatch: pytest.MonkeyPatch) -> None:
    # The original is put back after the test.
    monkeypatch.setattr(Engine, "work", Engine.work)
    marks = note_marks([Probe(Engine, "work", step="steps", after="batching")])

    assert Engine().work() == 7

    assert [each.step for each in marks] == ["steps", "batching"]
    assert marks[0].time <= marks[1].time


def test_a_step_that_another_thread_has_begun_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "work", Engine.work)
    monkeypatch.setattr(Engine, "hand_over", Engine.hand_over)
    marks = note_marks([Probe(Engine, "hand_over", step="queue", after="switch"), Probe(Engine, "work", step="steps")])

    Engine().hand_over(0.01)

    assert [each.step for each in marks] == ["queue", "steps"]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.function)
def test_a_probe_names_a_function_that_the_service_has(probe: Probe) -> None:
    assert callable(getattr(probe.owner, probe.function))
