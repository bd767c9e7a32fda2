"""Live agreement goes on after a restart, on both databases."""

import asyncio
from pathlib import Path

import pytest

from slimseq.app.jobs.database.database import Database, database_url
from slimseq.app.jobs.shadowing.kept_agreement import KeptAgreement
from slimseq.app.observability.agreement import AgreementMonitor, ArmKey, Compared
from slimseq.evaluation.agreement import Agreement
from slimseq.models_store.manifest import Task
from tests.app.jobs.experiments.test_experiments import Parts

QUANTIZED = Compared(Task.TRANSLATION, "sha256:" + "1" * 64, "sha256:" + "2" * 64)
NEAR, EQUAL = Agreement(is_exact=False, similarity=0.7), Agreement(is_exact=True, similarity=1.0)


class Process:
    """What a process of the service has."""

    def __init__(self, database: Database) -> None:
        self.monitor = AgreementMonitor()
        self.shown = 0
        self.kept = KeptAgreement(database, self.monitor, self.show)

    def show(self) -> None:
        self.shown += 1


def test_a_process_goes_on_where_the_one_before_it_ended(database: Database) -> None:
    without = AgreementMonitor()

    async def scenario() -> None:
        for number in range(5):
            process = Process(database)
            process.kept.start()
            while not process.shown:
                await asyncio.sleep(0.01)
            for found in [[NEAR, EQUAL]] * 10:
                process.monitor.record(QUANTIZED, found)
                without.record(QUANTIZED, found)
            await process.kept.close()
            assert process.monitor.report(QUANTIZED) is not None, number

    asyncio.run(scenario())
    after = Process(database)
    asyncio.run(after.kept.keep())

    live, expected = after.monitor.report(QUANTIZED), without.report(QUANTIZED)
    assert live is not None and expected is not None
    assert (live.outputs, live.exact, live.similarity) == pytest.approx((100, 0.5, 0.85))
    assert live.interval == pytest.approx(expected.interval)


def test_two_processes_measure_together_and_nothing_counts_twice(database: Database) -> None:
    async def scenario() -> None:
        first, second = Process(database), Process(database)
        for _ in range(10):
            for process in (first, second):
                process.monitor.record(QUANTIZED, [NEAR])
            await asyncio.gather(first.kept.keep(), second.kept.keep())
        await asyncio.gather(first.kept.keep(), second.kept.keep())
        live = first.monitor.report(QUANTIZED)
        assert live is not None and live == second.monitor.report(QUANTIZED)
        assert (live.outputs, live.similarity) == pytest.approx((20, 0.7))

    asyncio.run(scenario())


def test_the_agreement_of_an_arm_is_in_the_report_until_its_experiment_is_deleted(database: Database) -> None:
    async def scenario() -> None:
        parts, process = Parts(database), Process(database)
        experiment = await parts.start()
        process.monitor.record(QUANTIZED, [NEAR, EQUAL], ArmKey(experiment, "compact"))
        await process.kept.keep()
        process.monitor.record(QUANTIZED, [EQUAL], ArmKey(experiment, "compact"))
        await process.kept.keep()

        original, compact = (await parts.experiments.stop(experiment)).arms
        await parts.experiments.delete(experiment)
        process.monitor.record(QUANTIZED, [NEAR], ArmKey(experiment, "compact"))
        await process.kept.keep()

        assert original.agreement is None and compact.agreement is not None
        assert (compact.agreement.outputs, compact.agreement.similarity) == pytest.approx((3, 0.9))
        live = process.monitor.report(QUANTIZED)
        assert live is not None and live.outputs == 4

    asyncio.run(scenario())


def test_what_is_measured_while_the_database_is_down_is_kept_later(tmp_path: Path) -> None:
    blocked = tmp_path / "folder"
    blocked.write_text("in the way")
    database = Database(database_url(f"sqlite:///{blocked / 'slimseq.db'}"))

    async def scenario() -> None:
        process = Process(database)
        process.monitor.record(QUANTIZED, [NEAR])
        process.kept.start()
        await asyncio.sleep(0.2)
        blocked.unlink()
        process.monitor.record(QUANTIZED, [NEAR])
        await process.kept.close()

        other = Process(database)
        await other.kept.keep()
        live = other.monitor.report(QUANTIZED)
        assert live is not None and live.outputs == 2

    asyncio.run(scenario())
    database.close()
