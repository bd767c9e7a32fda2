"""What a process has measured, and what all have: nothing is counted twice or lost."""

import random

import pytest

from slimseq.app.observability.agreement import AgreementMonitor, AgreementSums, ArmKey, Compared
from slimseq.evaluation.agreement import Agreement
from slimseq.models_store.manifest import Task

QUANTIZED = Compared(Task.TRANSLATION, "quantized", "original")
ARM = ArmKey("one", "quantized")
HALF, WHOLE = Agreement(is_exact=False, similarity=0.5), Agreement(is_exact=True, similarity=1.0)


def test_a_new_reference_starts_the_measurement_again() -> None:
    monitor, other = AgreementMonitor(), QUANTIZED._replace(reference="other")

    monitor.record(QUANTIZED, [HALF, HALF])
    monitor.record(other, [WHOLE])

    live = monitor.report(other)
    assert live is not None and (live.outputs, live.exact, live.similarity) == (1, 1.0, 1.0)
    assert monitor.report(QUANTIZED._replace(digest="b")) is None
    assert monitor.report(QUANTIZED._replace(task=Task.SUMMARIZATION)) is None


def test_what_was_added_is_not_added_again() -> None:
    monitor = AgreementMonitor()
    monitor.record(QUANTIZED, [HALF, WHOLE], ARM)
    added = dict(monitor.unkept())

    monitor.keep(added, added)

    assert {key: (sums.similarity.count, sums.exact) for key, sums in added.items()} == {QUANTIZED: (2, 1), ARM: (2, 1)}
    assert not monitor.unkept()
    assert monitor.report(QUANTIZED) == added[QUANTIZED].report(Task.TRANSLATION)


def test_what_is_measured_while_it_is_written_is_added_the_next_time() -> None:
    monitor = AgreementMonitor()
    monitor.record(QUANTIZED, [HALF])
    added = dict(monitor.unkept())
    monitor.record(QUANTIZED, [WHOLE])

    # Another process had measured ten outputs.
    monitor.keep(added, {QUANTIZED: AgreementSums.of(11, 10, 10.5, 0.4)})

    assert monitor.unkept()[QUANTIZED].similarity.count == 1
    live = monitor.report(QUANTIZED)
    assert live is not None and (live.outputs, live.similarity) == pytest.approx((12, 11.5 / 12))


def test_arms_of_experiments_that_are_gone_are_forgotten() -> None:
    monitor = AgreementMonitor()
    monitor.record(QUANTIZED, [WHOLE], ARM)
    added = dict(monitor.unkept())

    monitor.keep(added, {QUANTIZED: added[QUANTIZED]})

    assert not monitor.unkept()


def test_in_pieces_the_interval_is_hardly_wider() -> None:
    draw, whole, parts = random.Random(0), AgreementMonitor(), AgreementMonitor()
    kept: AgreementSums | None = None
    for _ in range(400):
        found = [Agreement(is_exact=False, similarity=draw.betavariate(19, 1))]
        whole.record(QUANTIZED, found)
        parts.record(QUANTIZED, found)
        added = dict(parts.unkept())
        kept = added[QUANTIZED] if kept is None else kept.plus(added[QUANTIZED])
        parts.keep(added, {QUANTIZED: kept})
        if draw.random() < 0.02:
            # The service restarts.
            parts = AgreementMonitor()
            parts.keep({}, {QUANTIZED: kept})

    one, other = whole.report(QUANTIZED), parts.report(QUANTIZED)
    assert one is not None and other is not None
    assert other.outputs == 400 and other.interval == pytest.approx(one.interval, abs=1e-6)
