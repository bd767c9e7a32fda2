import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from slimseq.app.errors import InvalidRequest, Overloaded, UnknownEvaluation
from slimseq.app.http.schemas.evaluation import EvaluationJob, EvaluationRequest, Status
from slimseq.app.jobs.evaluation_service import EvaluationService
from slimseq.app.jobs.evaluations import EvaluationJobs
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
    scenario: Callable[[EvaluationService], Coroutine[None, None, None]],
    queue: int = 8,
    kept: int = 50,
    seconds: float = 3600,
) -> None:
    async def run() -> None:
        parts = parts_of(store)
        jobs = EvaluationJobs(store.root, parts.runtimes, queue, kept, seconds)
        service = EvaluationService(Chooser(parts.catalogue, parts.runtimes), jobs, max_pairs=100)
        try:
            await asyncio.wait_for(scenario(service), 60)
        finally:
            await jobs.close()
            await parts.pool.close()

    asyncio.run(run())


async def ended(service: EvaluationService, job: EvaluationJob) -> EvaluationJob:
    while not (now := service.get(job.id)).status.is_final:
        await asyncio.sleep(0.02)
    return now


def test_an_evaluation_ends_with_results_relative_to_the_original(embedded: Store) -> None:
    async def scenario(service: EvaluationService) -> None:
        posted = service.post(request())
        job = await ended(service, posted)

        assert (posted.status, posted.progress, posted.results) == (Status.QUEUED, 0, None)
        assert (job.status, job.progress, job.samples) == (Status.SUCCEEDED, 1, 2)
        assert job.results is not None
        assert [result.variant for result in job.results] == ["original", "quantized"]
        assert [result.reference for result in job.results] == ["original", "original"]
        assert job.results[0].metric("bleu").retention in (None, 1.0)

    with_service(embedded, scenario)


def test_an_evaluation_that_takes_too_long_fails_and_the_next_one_runs(embedded: Store) -> None:
    async def scenario(service: EvaluationService) -> None:
        job = await ended(service, service.post(request()))

        assert job.status is Status.FAILED
        assert job.error is not None and "exceeded the limit of 0.01 s" in job.error.detail
        assert (await ended(service, service.post(request()))).status is Status.FAILED

    with_service(embedded, scenario, seconds=0.01)


def test_one_runs_at_a_time_and_too_many_that_wait_are_refused(embedded: Store) -> None:
    async def scenario(service: EvaluationService) -> None:
        first = service.post(request())
        await asyncio.sleep(0.01)
        second = service.post(request())
        with pytest.raises(Overloaded):
            service.post(request())

        assert service.get(first.id).status is Status.RUNNING and service.get(second.id).status is Status.QUEUED
        assert (await ended(service, second)).status is Status.SUCCEEDED
        assert service.get(first.id).status is Status.SUCCEEDED

    with_service(embedded, scenario, queue=1)


def test_a_cancelled_evaluation_stays_cancelled(embedded: Store) -> None:
    async def scenario(service: EvaluationService) -> None:
        running, waiting = service.post(request(pairs=PAIRS * 50)), service.post(request())
        await asyncio.sleep(0.1)
        cancelled = [service.cancel(job.id).status for job in (waiting, running)]
        after = await ended(service, service.post(request(variants=["quantized"])))

        assert cancelled == [Status.CANCELLED] * 2 and after.status is Status.SUCCEEDED
        assert service.get(running.id).status is Status.CANCELLED and service.get(running.id).results is None

    with_service(embedded, scenario)


def test_a_variant_that_cannot_be_opened_fails_the_evaluation(own_store: Store) -> None:
    (own_store.folder(request().task, "quantized") / "onnx" / "decoder.onnx").unlink()

    async def scenario(service: EvaluationService) -> None:
        job = await ended(service, service.post(request()))

        assert job.status is Status.FAILED and job.error is not None
        assert (
            job.error.type == "/problems/corrupt-artifact"
            and job.error.status == 503
            and "decoder.onnx" in job.error.detail
        )

    with_service(own_store, scenario)


def test_only_so_many_that_ended_are_remembered(embedded: Store) -> None:
    async def scenario(service: EvaluationService) -> None:
        jobs = []
        for _ in range(3):
            jobs.append(service.post(request(pairs=PAIRS[:1], variants=["quantized"])))
            await ended(service, jobs[-1])

        with pytest.raises(UnknownEvaluation):
            service.get(jobs[0].id)
        assert service.get(jobs[2].id).status is Status.SUCCEEDED

    with_service(embedded, scenario, kept=1)


def test_what_cannot_be_evaluated_is_refused(embedded: Store) -> None:
    async def scenario(service: EvaluationService) -> None:
        with pytest.raises(UnknownVariant, match="original, compact, distilled"):
            service.post(request(variants=["nope"]))
        with pytest.raises(InvalidRequest, match="at most 100"):
            service.post(request(pairs=PAIRS * 51))
        with pytest.raises(InvalidRequest, match="there is sample"):
            service.post(request(pairs=None, dataset="/etc/hosts.tsv"))
        with pytest.raises(UnknownEvaluation):
            service.get("nope")

    with_service(embedded, scenario)
