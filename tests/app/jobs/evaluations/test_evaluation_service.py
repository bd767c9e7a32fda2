import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from slimseq.app.errors import EvaluationRuns, InvalidRequest, Overloaded, UnknownEvaluation
from slimseq.app.http.schemas.evaluation import EvaluationJob, EvaluationRequest, Status
from slimseq.app.jobs.database.database import Database, database_url
from slimseq.app.jobs.database.tables import EvaluationRow
from slimseq.app.jobs.evaluations import evaluation_rows
from slimseq.app.jobs.evaluations.evaluation_runner import EvaluationRunner
from slimseq.app.jobs.evaluations.evaluation_service import EvaluationService
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.models_store.errors import UnknownVariant
from slimseq.models_store.store import Store
from tests.app.serving.parts import parts_of

PAIRS = [
    {"source": "Good morning.", "target": "Guten Morgen."},
    {"source": "A dog is barking.", "target": "Ein Hund bellt."},
]


def request(**change: Any) -> EvaluationRequest:
    body = {"task": "translation", "variants": ["original", "quantized"], "pairs": PAIRS}
    return EvaluationRequest.model_validate({**body, **change})


def with_service(
    store: Store,
    url: str,
    scenario: Callable[[EvaluationService], Coroutine[None, None, None]],
    *,
    queue: int = 8,
    kept: int = 50,
    seconds: float = 3600,
    runs: bool = True,
) -> None:
    async def run() -> None:
        parts, database = parts_of(store), Database(database_url(url))
        chooser = Chooser(parts.catalogue, parts.runtimes)
        runner = EvaluationRunner(store, chooser, parts.runtimes, database, seconds)
        service = EvaluationService(chooser, database, runner, max_pairs=100, max_queued=queue, max_kept=kept)
        if runs:
            runner.start()
        try:
            await asyncio.wait_for(scenario(service), 120)
        finally:
            await runner.close()
            database.close()
            await parts.pool.close()

    asyncio.run(run())


def end_leases(session: Session) -> None:
    """Lets time pass, as after a crash."""
    session.execute(update(EvaluationRow).values(owned_until=0.0))


def change_digests(session: Session) -> None:
    session.execute(update(EvaluationRow).values(digests={"original": "sha256:0", "quantized": "sha256:0"}))


async def reached(service: EvaluationService, job: EvaluationJob, *statuses: Status) -> EvaluationJob:
    while (now := await service.get(job.id)).status not in statuses:
        await asyncio.sleep(0.02)
    return now


async def ended(service: EvaluationService, job: EvaluationJob) -> EvaluationJob:
    return await reached(service, job, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


def test_an_evaluation_ends_with_results_relative_to_the_original(embedded: Store, url: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        posted = await service.post(request())
        job = await ended(service, posted)

        assert (posted.status, posted.progress, posted.results) == (Status.QUEUED, 0, None)
        assert (job.status, job.progress, job.samples, job.evaluated) == (Status.SUCCEEDED, 1, 2, 2), job.error
        assert job.results is not None
        assert [result.variant for result in job.results] == ["original", "quantized"]
        assert [result.reference for result in job.results] == ["original", "original"]
        assert job.results[0].metric("bleu").retention in (None, 1.0)
        [difference] = job.differences or []
        assert (difference.first, difference.second) == ("original", "quantized") and 0 < difference.p_value <= 1

    with_service(embedded, url, scenario)


def test_texts_and_outputs_are_kept_until_they_are_erased_even_with_odd_characters(embedded: Store, url: str) -> None:
    odd = {"source": "A dog\x00 is 🐶 barking.", "target": "Ein Hund\x00 bellt."}

    async def scenario(service: EvaluationService) -> None:
        job = await service.post(request(pairs=[PAIRS[0], odd, PAIRS[1]]))
        await ended(service, job)
        first, second = await service.samples(job.id, 0, 2), await service.samples(job.id, 2, 2)

        assert (first.next, second.next) == (2, None)
        assert first.samples[1].source == odd["source"] and first.samples[1].target == odd["target"]
        assert set(second.samples[0].outputs) == {"original", "quantized"}
        assert second.samples[0].outputs["quantized"].score > 50
        await service.erase(job.id)
        assert (await service.samples(job.id, 0, 2)).samples == []
        assert (await service.get(job.id)).results is not None

    with_service(embedded, url, scenario)


def test_a_gate_question_is_answered_early_and_says_so(embedded: Store, file: str) -> None:
    pairs = [{"source": f"Number {n}: good morning.", "target": f"Nummer {n}: Guten Morgen."} for n in range(100)]

    async def scenario(service: EvaluationService) -> None:
        job = await ended(service, await service.post(request(pairs=pairs, gate={"retention": 0.1})))

        assert job.stopped_early and (job.evaluated or 0) < 100 == job.samples, job.error
        [answer] = job.gate or []
        assert (answer.variant, answer.metric, answer.verdict) == ("quantized", "chrf", "passed")
        assert answer.interval[0] >= 0

    with_service(embedded, file, scenario)


def test_latency_is_measured_by_a_job_too(embedded: Store, file: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        latency = {"batch": 2, "texts": 4, "repeats": 2, "new_tokens": 8}
        job = await ended(service, await service.post(request(pairs=None, latency=latency)))

        assert (job.status, job.kind, job.progress, job.results) == (Status.SUCCEEDED, "latency", 1, None), job.error
        assert [each.variant for each in job.latencies or []] == ["original", "quantized"]
        assert {(each.batch, each.output_tokens, each.threads) for each in job.latencies or []} == {(2, 8, 1)}
        assert all(0 < each.p50_ms <= each.p95_ms for each in job.latencies or [])

    with_service(embedded, file, scenario)


def test_an_evaluation_that_takes_too_long_fails_and_the_next_one_runs(embedded: Store, file: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        job = await ended(service, await service.post(request()))

        assert job.status is Status.FAILED
        assert job.error is not None and "exceeded the limit of 0.01 s" in job.error.detail
        assert (await ended(service, await service.post(request()))).status is Status.FAILED

    with_service(embedded, file, scenario, seconds=0.01)


def test_one_runs_at_a_time_and_too_many_that_wait_are_refused(embedded: Store, file: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        first = await service.post(request())
        await reached(service, first, Status.RUNNING)
        second = await service.post(request())
        with pytest.raises(Overloaded):
            await service.post(request())

        assert (await service.get(second.id)).status is Status.QUEUED
        assert (await ended(service, second)).status is Status.SUCCEEDED
        assert (await service.get(first.id)).status is Status.SUCCEEDED

    with_service(embedded, file, scenario, queue=1)


def test_an_evaluation_that_has_ended_is_deleted_with_its_texts(embedded: Store, url: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        job = await ended(service, await service.post(request()))
        other = await ended(service, await service.post(request()))

        deleted = await service.cancel_or_delete(job.id)

        assert deleted == job and deleted.results
        assert [each.id for each in (await service.list(None, 10)).evaluations] == [other.id]
        for call in (service.get(job.id), service.samples(job.id, 0, 10), service.cancel_or_delete(job.id)):
            with pytest.raises(UnknownEvaluation):
                await call
        assert (await service.samples(other.id, 0, 10)).samples

    with_service(embedded, url, scenario)


def test_a_cancelled_evaluation_stays_cancelled_and_its_texts_are_deleted(embedded: Store, url: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        running = await service.post(request(pairs=PAIRS * 50))
        await reached(service, running, Status.RUNNING)
        waiting = await service.post(request())
        with pytest.raises(EvaluationRuns):
            await service.erase(running.id)
        cancelled = [(await service.cancel_or_delete(job.id)).status for job in (waiting, running)]
        after = await ended(service, await service.post(request(variants=["quantized"])))

        assert cancelled == [Status.CANCELLED] * 2 and after.status is Status.SUCCEEDED
        job = await service.get(running.id)
        assert job.status is Status.CANCELLED and job.results is None
        assert (await service.samples(running.id, 0, 10)).samples == []

    with_service(embedded, url, scenario)


def test_a_variant_that_cannot_be_opened_fails_the_evaluation(own_store: Store, file: str) -> None:
    (own_store.folder(request().task, "quantized") / "onnx" / "decoder.onnx").unlink()

    async def scenario(service: EvaluationService) -> None:
        job = await ended(service, await service.post(request()))

        assert job.status is Status.FAILED and job.error is not None
        assert job.error.type == "/problems/corrupt-artifact" and job.error.status == 503
        assert "decoder.onnx" in job.error.detail

    with_service(own_store, file, scenario)


def test_evaluations_are_listed_in_pages_and_the_oldest_that_ended_are_forgotten(embedded: Store, file: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        jobs = []
        for _ in range(3):
            jobs.append(await service.post(request(pairs=PAIRS[:1], variants=["quantized"])))
            await ended(service, jobs[-1])

        with pytest.raises(UnknownEvaluation):
            await service.get(jobs[0].id)
        first = await service.list(None, 1)
        second = await service.list(first.next, 1)
        assert [job.id for job in first.evaluations] == [jobs[2].id]
        assert [job.id for job in second.evaluations] == [jobs[1].id] and second.next is None

    with_service(embedded, file, scenario, kept=1)


def test_an_evaluation_of_a_variant_that_changed_meanwhile_fails(embedded: Store, file: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        job = await service.post(request())
        await service._database.run(change_digests)
        service._runner.start()

        failed = await ended(service, job)
        assert failed.error is not None and "original, quantized changed in the store" in failed.error.detail

    with_service(embedded, file, scenario, runs=False)


def test_an_evaluation_that_ends_its_service_again_and_again_is_given_up(embedded: Store, url: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        job = await service.post(request())
        for _ in range(evaluation_rows.MAX_INTERRUPTIONS + 1):
            assert await service._database.run(evaluation_rows.claim) is not None
            await service._database.run(end_leases)
        service._runner.start()

        failed = await ended(service, job)
        assert failed.status is Status.FAILED
        assert failed.error is not None and "the service ended 4 times" in failed.error.detail

    with_service(embedded, url, scenario, runs=False)


def test_two_services_on_one_database_share_the_evaluations(embedded: Store, url: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        async def other(second: EvaluationService) -> None:
            claims = [each._database.run(evaluation_rows.claim) for each in (service, second) for _ in range(4)]
            found = [claimed for claimed in await asyncio.gather(*claims) if claimed is not None]
            assert sorted(claimed.id for claimed in found) == sorted(job.id for job in jobs)

        jobs = [await service.post(request()) for _ in range(6)]
        parts, database = parts_of(embedded), Database(database_url(url))
        chooser = Chooser(parts.catalogue, parts.runtimes)
        runner = EvaluationRunner(embedded, chooser, parts.runtimes, database)
        try:
            await other(EvaluationService(chooser, database, runner, max_pairs=100, max_queued=8, max_kept=50))
        finally:
            database.close()

    with_service(embedded, url, scenario, runs=False)


def test_what_cannot_be_evaluated_is_refused(embedded: Store, file: str) -> None:
    async def scenario(service: EvaluationService) -> None:
        with pytest.raises(UnknownVariant, match="original, compact, distilled"):
            await service.post(request(variants=["nope"]))
        with pytest.raises(InvalidRequest, match="at most 100"):
            await service.post(request(pairs=PAIRS * 51))
        with pytest.raises(InvalidRequest, match="there is sample"):
            await service.post(request(pairs=None, dataset="/etc/hosts.tsv"))
        with pytest.raises(InvalidRequest, match="the reference of quantized is not among"):
            await service.post(request(variants=["quantized"], gate={"retention": 0.9}))
        with pytest.raises(InvalidRequest, match="no variant to ask about"):
            await service.post(request(variants=["original"], gate={"retention": 0.9}))
        for unknown in (
            service.get("nope"),
            service.cancel_or_delete("nope"),
            service.samples("nope", 0, 1),
            service.erase("nope"),
        ):
            with pytest.raises(UnknownEvaluation):
                await unknown

    with_service(embedded, file, scenario)
