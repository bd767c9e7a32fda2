"""The queue of evaluations, with the embedded models: what runs, stays, is refused, or is taken from a dead service."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
from sqlalchemy import update

from slimseq.answers import Status
from slimseq.app.database.database import Database, database_url
from slimseq.app.errors import NotFound, Overloaded
from slimseq.app.evaluations import rows
from slimseq.app.evaluations.rows import SILENCE_SECONDS, EvaluationRow, this_process
from slimseq.app.evaluations.runner import EvaluationRunner
from slimseq.app.evaluations.schemas import EvaluationJob, EvaluationRequest
from slimseq.app.evaluations.service import EvaluationLimits, EvaluationService
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.models_store.store import Store
from tests.app.serving.parts import parts_of

pytestmark = pytest.mark.anyio

PAIRS = [
    {"source": "Good morning.", "target": "Guten Morgen."},
    {"source": "A dog is barking.", "target": "Ein Hund bellt."},
]


def request(**change: Any) -> EvaluationRequest:
    body = {"task": "translation", "variants": ["original", "quantized"], "pairs": PAIRS}
    return EvaluationRequest.model_validate({**body, **change})


@contextlib.asynccontextmanager
async def with_service(
    store: Store, url: str, *, queue: int = 8, kept: int = 50, timeout_seconds: float = 3600, runs: bool = True
) -> AsyncIterator[EvaluationService]:
    """Yields a service on a database. Unless it `runs`, evaluations stay in the queue."""
    parts = parts_of(store)
    database = Database(database_url(url))
    runner = EvaluationRunner(Catalogue(store), database, timeout_seconds)
    service = EvaluationService(parts.chooser, database, runner, EvaluationLimits(pairs=100, kept=kept, queued=queue))
    if runs:
        runner.start()
    try:
        yield service
    finally:
        await runner.close()
        database.close()
        await parts.pool.close()


async def reached(service: EvaluationService, job: EvaluationJob, *statuses: Status) -> EvaluationJob:
    """Waits until an evaluation has one of the statuses, and returns it as it then is."""
    now = await service.get(job.id)
    while now.status not in statuses:
        await asyncio.sleep(0.02)
        now = await service.get(job.id)
    return now


async def ended(service: EvaluationService, job: EvaluationJob) -> EvaluationJob:
    return await reached(service, job, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


async def test_texts_and_outputs_are_kept_even_with_odd_characters(embedded: Store, url: str) -> None:
    odd = {"source": "A dog\x00 is 🐶 barking.", "target": "Ein Hund\x00 bellt."}

    async with with_service(embedded, url) as service:
        job = await service.post(request(pairs=[PAIRS[0], odd, PAIRS[1]]))
        await ended(service, job)
        first_page = await service.samples(job.id, 0, 2)
        second_page = await service.samples(job.id, 2, 2)

        assert first_page.next == 2
        assert second_page.next is None
        assert first_page.samples[1].source == odd["source"]
        assert first_page.samples[1].target == odd["target"]
        assert set(second_page.samples[0].outputs) == {"original", "quantized"}
        assert second_page.samples[0].outputs["quantized"].score > 50


async def test_an_evaluation_that_takes_too_long_fails_and_the_next_one_is_run(
    embedded: Store, sqlite_url: str
) -> None:
    async with with_service(embedded, sqlite_url, timeout_seconds=0.01) as service:
        job = await ended(service, await service.post(request()))

        assert job.status is Status.FAILED
        assert job.error is not None and "exceeded the limit of 0.01 s" in job.error.detail
        assert (await ended(service, await service.post(request()))).status is Status.FAILED


async def test_one_runs_at_a_time_and_too_many_that_wait_are_refused(embedded: Store, sqlite_url: str) -> None:
    async with with_service(embedded, sqlite_url, queue=1) as service:
        first = await service.post(request())
        await reached(service, first, Status.RUNNING)
        second = await service.post(request())
        with pytest.raises(Overloaded):
            await service.post(request())

        assert (await service.get(second.id)).status is Status.QUEUED
        assert (await ended(service, second)).status is Status.SUCCEEDED
        assert (await service.get(first.id)).status is Status.SUCCEEDED


async def test_a_variant_that_cannot_be_opened_fails_the_evaluation(own_store: Store, sqlite_url: str) -> None:
    (own_store.folder(request().task, "quantized") / "onnx" / "decoder.onnx").unlink()

    async with with_service(own_store, sqlite_url) as service:
        job = await ended(service, await service.post(request()))

        assert job.status is Status.FAILED and job.error is not None
        assert job.error.type == "/problems/corrupt-artifact" and job.error.status == 503
        assert "decoder.onnx" in job.error.detail


async def test_the_oldest_evaluations_that_ended_are_forgotten(embedded: Store, sqlite_url: str) -> None:
    async with with_service(embedded, sqlite_url, kept=1) as service:
        jobs = []
        for _ in range(3):
            jobs.append(await service.post(request(pairs=PAIRS[:1], variants=["quantized"])))
            await ended(service, jobs[-1])

        with pytest.raises(NotFound):
            await service.get(jobs[0].id)
        listed = await service.list_page(None, 10)
        assert [job.id for job in listed.evaluations] == [jobs[2].id, jobs[1].id]


async def test_an_evaluation_of_a_variant_that_changed_meanwhile_fails(embedded: Store, sqlite_url: str) -> None:
    async with with_service(embedded, sqlite_url, runs=False) as service:
        job = await service.post(request())
        changed = update(EvaluationRow).values(digests={"original": "sha256:0", "quantized": "sha256:0"})
        await service._database.run(lambda session: session.execute(changed))
        service._runner.start()

        failed = await ended(service, job)
        assert failed.error is not None and "original, quantized changed in the store" in failed.error.detail


@pytest.mark.parametrize(
    ("owner", "silence", "goes_on"),
    [
        ("{host} {parent} {parent_started}", 10_000, False),
        ("{host} {parent} 1.00", 0, True),
        ("{host} 4194305 1.00", 0, True),
        ("{host} {own} 1.00", 0, True),
        ("elsewhere {own} 1.00", SILENCE_SECONDS - 60, False),
        ("elsewhere {own} 1.00", SILENCE_SECONDS + 60, True),
    ],
    ids=["running", "its id has another process now", "killed", "restarted in a container", "far", "far and silent"],
)
async def test_an_evaluation_goes_on_when_its_process_is_gone(
    embedded: Store, url: str, owner: str, silence: float, goes_on: bool
) -> None:
    me, parent = this_process(), psutil.Process(os.getppid())
    named = owner.format(
        host=me.split()[0], own=os.getpid(), parent=parent.pid, parent_started=f"{parent.create_time():.2f}"
    )

    async with with_service(embedded, url, runs=False) as service:
        job, database = await service.post(request()), service._database
        first = await database.run(lambda session: rows.claim(session, named))
        await database.run(
            lambda session: session.execute(update(EvaluationRow).values(written_at=time.time() - silence))
        )
        second = await database.run(lambda session: rows.claim(session, me))

        assert first is not None and first.id == job.id
        assert (second is not None) == goes_on
        assert await database.run(lambda session: rows.record(session, first, progress=0.5)) != goes_on


async def test_an_evaluation_that_ends_its_service_again_and_again_is_given_up(embedded: Store, url: str) -> None:
    async with with_service(embedded, url, runs=False) as service:
        job, database = await service.post(request()), service._database
        dead = f"{this_process().split()[0]} 4194305 1.00"
        claims = [
            await database.run(lambda session: rows.claim(session, dead)) for _ in range(rows.MAX_INTERRUPTIONS + 2)
        ]
        failed = await service.get(job.id)

        assert [claim is not None for claim in claims] == [True] * (rows.MAX_INTERRUPTIONS + 1) + [False]
        assert failed.status is Status.FAILED and failed.ended_at is not None
        assert failed.error is not None and "the service ended 4 times while it ran" in failed.error.detail


async def test_services_that_claim_at_once_share_the_evaluations(embedded: Store, url: str) -> None:
    async with with_service(embedded, url, runs=False) as service:
        jobs = [await service.post(request()) for _ in range(6)]
        found: list[str] = []
        databases = [Database(database_url(url)) for _ in range(3)]
        while len(found) < len(jobs):
            # Of another machine each, so that none takes the others for dead.
            claims = [
                database.run(lambda session, name=f"host-{number} 1 1.00": rows.claim(session, name))  # type: ignore[misc]
                for number, database in enumerate(databases)
            ]
            found += [claimed.id for claimed in await asyncio.gather(*claims) if claimed is not None]
        for database in databases:
            database.close()

        assert sorted(found) == sorted(job.id for job in jobs)
