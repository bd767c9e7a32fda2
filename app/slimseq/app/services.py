"""The service objects of an application: built once from the settings, and closed in order."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from slimseq.app.database.database import Database, database_url, default_url
from slimseq.app.errors import UnusableStore
from slimseq.app.evaluations.runner import EvaluationRunner
from slimseq.app.evaluations.service import EvaluationService
from slimseq.app.experiments.feedback import FeedbackService
from slimseq.app.experiments.service import ExperimentService
from slimseq.app.experiments.traffic_sync import TrafficSync
from slimseq.app.generate.planner import Planner
from slimseq.app.generate.service import GenerationService
from slimseq.app.http.keyring import KeyRing
from slimseq.app.http.limits import UsageCounter
from slimseq.app.http.problems import PROBLEM_TYPES
from slimseq.app.observability.agreement import AgreementMonitor
from slimseq.app.observability.latency import LatencyWindow
from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.languages import Languages
from slimseq.app.serving.pool.loading import Loader
from slimseq.app.serving.pool.pool import Pool, PoolLimits
from slimseq.app.serving.pool.readiness import Readiness
from slimseq.app.serving.pool.trimming import HeapTrimmer
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.traffic import Traffic
from slimseq.app.settings import Settings, listed
from slimseq.app.shadowing.shadowing import Shadowing
from slimseq.app.variants.inventory import Inventory
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import pip_install
from slimseq.models_store.signing import TrustedKeys
from slimseq.models_store.store import Store

# Of static batching: sequences (texts times beams) in a batch, and how long an idle worker waits to fill one.
MAX_BATCH_ROWS = 32
BATCH_WAIT_SECONDS = 0.003
LATENCY_WINDOW_SECONDS = 300.0
MAX_QUEUED_EVALUATIONS = 8
EVALUATION_SECONDS = 3600.0
FIRST_ARTIFACT = (
    f"set SLIMSEQ_STORE to a folder of artifacts, or make the first one with `{pip_install('compress')}` and "
    "`slimseq import google-t5/t5-small --task summarization`"
)


@dataclass(frozen=True)
class Services:
    """The service objects that routes use."""

    generation: GenerationService
    evaluations: EvaluationService
    experiments: ExperimentService
    feedback: FeedbackService
    inventory: Inventory
    languages: Languages
    latency: LatencyWindow
    readiness: Readiness
    metrics: ServiceMetrics
    pool: Pool
    database: Database
    traffic_sync: TrafficSync
    runner: EvaluationRunner
    shadowing: Shadowing
    planner: Planner
    trimmer: HeapTrimmer
    keys: KeyRing
    usage: UsageCounter
    traces: Traces | None

    @classmethod
    def build(cls, settings: Settings, version: str) -> Self:
        """Builds the objects. No variant is loaded yet. Raises as `slimseq.app.main.create_app`."""
        signers = [Path(place) for place in listed(settings.trusted_keys or "")]
        trusted = TrustedKeys.read(signers) if signers else None
        store = Store(settings.store, trusted)
        catalogue = Catalogue(store, settings.runtime_name)
        check_store(settings, catalogue)
        problems = [kind.slug for kind in PROBLEM_TYPES.values()]
        metrics = ServiceMetrics(version, settings.max_resident_bytes, problems)
        traces = Traces.from_environment(version)
        limits = WorkLimits(MAX_BATCH_ROWS, settings.max_batch_tokens, BATCH_WAIT_SECONDS, settings.queue_rows)
        pool = Pool(
            Loader(store, metrics, limits, settings.workers, settings.threads, traces=traces),
            metrics,
            catalogue,
            PoolLimits(settings.max_resident_bytes or None, settings.idle_unload_seconds or None),
        )
        chooser = Chooser(catalogue, {task: settings.default_variant(task) for task in Task}, pool.last_error)
        planner = Planner()
        latency = LatencyWindow(LATENCY_WINDOW_SECONDS)
        url = settings.database_url
        database = Database(database_url(url.get_secret_value()) if url else default_url(settings.store))
        traffic = Traffic(metrics)
        traffic_sync = TrafficSync(database, traffic)
        runner = EvaluationRunner(chooser, database, EVALUATION_SECONDS)
        monitor = AgreementMonitor()
        shadowing = Shadowing(settings.shadow_share, catalogue, pool, monitor, metrics)
        return cls(
            generation=GenerationService(
                settings, chooser, pool, latency, metrics, planner, traffic, shadowing.answered, traces
            ),
            evaluations=EvaluationService(
                chooser,
                database,
                runner,
                max_pairs=settings.evaluation_max_pairs,
                max_queued=MAX_QUEUED_EVALUATIONS,
                max_kept=settings.evaluation_kept,
            ),
            experiments=ExperimentService(database, chooser, traffic_sync),
            feedback=FeedbackService(database, traffic, metrics, settings.feedback_days),
            inventory=Inventory(chooser, pool, version, monitor),
            languages=Languages(chooser),
            latency=latency,
            readiness=Readiness(chooser, pool, settings.preload),
            metrics=metrics,
            pool=pool,
            database=database,
            traffic_sync=traffic_sync,
            runner=runner,
            shadowing=shadowing,
            planner=planner,
            trimmer=HeapTrimmer(pool.idle_seconds),
            keys=KeyRing(settings.keys_file, _secret(settings.admin_token)),
            usage=UsageCounter(_secret(settings.limits_url)),
            traces=traces,
        )

    async def close(self) -> None:
        """Stops the evaluation, shadowing and the workers, and unloads all variants."""
        self.planner.close()
        await self.keys.close()
        await self.trimmer.close()
        await asyncio.gather(self.runner.close(), self.shadowing.close())
        await self.pool.close()
        await self.traffic_sync.close()
        self.database.close()
        if self.traces:
            await asyncio.to_thread(self.traces.close)


def check_store(settings: Settings, catalogue: Catalogue) -> None:
    """Checks at the start that the store can be served.

    Raises:
        UnusableStore: the store is missing or holds nothing.
        UnknownVariant: a default or a variant to preload is not in the store.
    """
    if not settings.store.is_dir():
        raise UnusableStore(f"there is no store at {_shown(settings.store)}: {FIRST_ARTIFACT}")
    if not catalogue.entries():
        raise UnusableStore(f"the store at {_shown(settings.store)} is empty: {FIRST_ARTIFACT}")
    for task in Task:
        if variant := settings.default_variant(task):
            catalogue.entry(task, variant)
    for task, variant in settings.preload:
        catalogue.entry(task, variant)


def _shown(store: Path) -> str:
    return str(store) if store.is_absolute() else f"./{store}"


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
