"""The service objects of an application: built once from the settings, and closed in order."""

import asyncio
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from slimseq.app.errors import UnusableStore
from slimseq.app.jobs.evaluation_service import EvaluationService
from slimseq.app.jobs.evaluations import EvaluationJobs
from slimseq.app.jobs.shadowing import Shadowing
from slimseq.app.observability.agreement import AgreementMonitor
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.documents.planner import Planner
from slimseq.app.serving.inventory import Inventory
from slimseq.app.serving.pool.loading import Loader
from slimseq.app.serving.pool.pool import Pool, PoolLimits
from slimseq.app.serving.pool.readiness import Readiness
from slimseq.app.serving.pool.trimming import HeapTrimmer
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.runtimes import RuntimeChooser
from slimseq.app.serving.service import GenerationService
from slimseq.app.settings import Settings
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

FIRST_ARTIFACT = (
    "set SLIMSEQ_STORE to a folder of artifacts, or make the first one with `pip install 'slimseq[compress]'` and "
    "`slimseq import google-t5/t5-small --task summarization`"
)


@dataclass(frozen=True)
class Services:
    """The service objects that routes use."""

    generation: GenerationService
    evaluations: EvaluationService
    inventory: Inventory
    latency: LatencyWindow
    readiness: Readiness
    metrics: ServiceMetrics
    pool: Pool
    jobs: EvaluationJobs
    shadowing: Shadowing
    planner: Planner
    trimmer: HeapTrimmer
    admin_token: SecretStr | None
    traces: Traces | None

    @classmethod
    def build(cls, settings: Settings, version: str) -> Self:
        """Builds the objects. No variant is loaded yet.

        Raises:
            UnusableStore: the store is missing or holds nothing.
            UnknownVariant: a default or a variant to preload is not in the store.
        """
        catalogue = Catalogue(Store(settings.store), {task: settings.default_variant(task) for task in Task})
        check_store(settings, catalogue)
        metrics = ServiceMetrics(version, settings.max_resident_bytes)
        traces = Traces.from_environment(version)
        limits = WorkLimits(
            settings.max_batch_rows, settings.max_batch_tokens, settings.batch_wait_seconds, settings.queue_rows
        )
        runtimes = RuntimeChooser(catalogue, settings.runtime_name)
        pool = Pool(
            Loader(catalogue.store, metrics, limits, settings.workers, settings.threads, traces=traces),
            metrics,
            runtimes,
            PoolLimits(settings.max_resident_bytes or None, settings.idle_unload_seconds or None),
        )
        catalogue.can_serve = pool.can_serve
        chooser = Chooser(catalogue, runtimes, pool.last_error)
        planner = Planner()
        latency = LatencyWindow(settings.latency_window_seconds)
        jobs = EvaluationJobs(
            settings.store,
            runtimes,
            settings.evaluation_queue,
            settings.evaluation_kept,
            settings.evaluation_timeout_seconds,
        )
        monitor = AgreementMonitor()
        shadowing = Shadowing(settings.shadow_share, catalogue, runtimes, pool, monitor, metrics)
        return cls(
            generation=GenerationService(
                settings, chooser, pool, latency, metrics, planner, shadowing.answered, traces
            ),
            evaluations=EvaluationService(chooser, jobs, settings.evaluation_max_pairs),
            inventory=Inventory(catalogue, pool, version, runtimes, monitor),
            latency=latency,
            readiness=Readiness(catalogue, pool, settings.preload),
            metrics=metrics,
            pool=pool,
            jobs=jobs,
            shadowing=shadowing,
            planner=planner,
            trimmer=HeapTrimmer(pool.idle_seconds),
            admin_token=settings.admin_token,
            traces=traces,
        )

    async def close(self) -> None:
        """Cancels evaluations and shadowing, stops the workers and unloads all variants."""
        self.planner.close()
        await self.trimmer.close()
        await asyncio.gather(self.jobs.close(), self.shadowing.close())
        await self.pool.close()
        if self.traces:
            await asyncio.to_thread(self.traces.close)


def check_store(settings: Settings, catalogue: Catalogue) -> None:
    """Checks at the start that the store can be served.

    Raises:
        UnusableStore: the store is missing or holds nothing.
        UnknownVariant: a default or a variant to preload is not in the store.
    """
    if not settings.store.is_dir():
        raise UnusableStore(f"there is no store at {settings.store}: {FIRST_ARTIFACT}")
    if not catalogue.entries():
        raise UnusableStore(f"the store at {settings.store} is empty: {FIRST_ARTIFACT}")
    for task in Task:
        if variant := settings.default_variant(task):
            catalogue.entry(task, variant)
    for task, variant in settings.preload:
        catalogue.entry(task, variant)
