"""The service objects of an application: built once from the settings, and closed in order.

`slimseq.app.main` builds them, and routes get them through `slimseq.app.http.dependencies`. The checks of the store,
which need no service, are here too: `slimseq deploy ray` uses them.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from slimseq.app.database.database import Database, database_url, default_url
from slimseq.app.errors import UnusableStore
from slimseq.app.evaluations.runner import EvaluationRunner
from slimseq.app.evaluations.service import EvaluationLimits, EvaluationService
from slimseq.app.experiments.service import ExperimentService, FeedbackService
from slimseq.app.experiments.traffic_sync import TrafficSync
from slimseq.app.generate.comparison import ComparisonService
from slimseq.app.generate.planner import Planner
from slimseq.app.generate.service import GenerationService
from slimseq.app.http.callers import KeyRing
from slimseq.app.http.dependencies import runtime_name
from slimseq.app.http.problems import PROBLEM_TYPES
from slimseq.app.http.usage import UsageCounter
from slimseq.app.observability.live_agreement import AgreementMonitor
from slimseq.app.observability.service_metrics import LatencyWindow, ServiceMetrics
from slimseq.app.observability.traces import Traces
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.languages import Languages
from slimseq.app.serving.pool.loading import Loader
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.pool.readiness import Readiness
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.app.serving.traffic import Traffic
from slimseq.app.setting_types import listed
from slimseq.app.settings import Settings
from slimseq.app.shadowing.shadowing import Shadowing
from slimseq.app.variants.inventory import Inventory
from slimseq.inference.text.errors import UnsupportedLanguages
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.manifest import Task
from slimseq.models_store.places import pip_install
from slimseq.models_store.store import Store
from slimseq.models_store.trusted_keys import TrustedKeys

# The period of `GET /latency`: the last five minutes.
LATENCY_WINDOW_SECONDS = 300.0
# What to do without artifacts: the end of an error text.
FIRST_ARTIFACT = (
    f"set SLIMSEQ_STORE to a folder of artifacts, or make the first one with `{pip_install('compress')}` and "
    "`slimseq import google-t5/t5-small --task summarization`"
)


class Services:
    """The service objects that routes use. No variant is loaded yet."""

    def __init__(self, settings: Settings, version: str, replica: str | None = None) -> None:
        signers = [Path(place) for place in listed(settings.trusted_keys or "")]
        store = Store(settings.store, TrustedKeys.read(signers) if signers else None)
        catalogue = Catalogue(store, runtime_name(settings.runtime))
        check_store(settings, catalogue)
        self.keys = KeyRing(settings.keys_file, _secret(settings.admin_token))
        self.usage = UsageCounter(_secret(settings.limits_url))
        problems = [kind.slug for kind in PROBLEM_TYPES.values()]
        self.metrics = ServiceMetrics(version, settings.max_resident_bytes, problems)
        self.traces = Traces.from_environment(version)
        self.latency = LatencyWindow(LATENCY_WINDOW_SECONDS, replica=replica)
        work = WorkLimits(max_tokens=settings.max_batch_tokens, queue_rows=settings.queue_rows)
        self.pool = Pool(
            Loader(store, self.metrics, work, settings.workers, settings.threads, traces=self.traces),
            self.metrics,
            catalogue,
            settings.max_resident_bytes or None,
        )
        chooser = Chooser(default_variants(settings, catalogue, self.pool.last_error))
        self.languages = Languages(chooser)
        self.readiness = Readiness(chooser, self.pool, settings.preload)
        monitor = AgreementMonitor({task: settings.shadow_variant(task) for task in Task})
        shown_limits = settings.model_dump(
            include={"max_body_bytes", "max_connections", "max_texts", "max_text_characters", "queue_rows"}
        )
        self.inventory = Inventory(chooser, self.pool, version, monitor, shown_limits, replica)
        self.shadowing = Shadowing(settings.shadow_share, catalogue, self.pool, monitor, self.metrics)
        self.planner = Planner()
        traffic = Traffic(self.metrics)
        on_answer = self.shadowing.answered if settings.shadow_share else None
        self.generation = GenerationService(
            settings, chooser, self.pool, self.latency, self.metrics, self.planner, traffic, on_answer, self.traces
        )
        self.comparison = ComparisonService(self.generation, chooser, traffic)
        url = _secret(settings.database_url)
        self.database = Database(database_url(url) if url else default_url(settings.store))
        self.traffic_sync = TrafficSync(self.database, traffic, chooser)
        self.experiments = ExperimentService(self.database, chooser, self.traffic_sync)
        self.feedback = FeedbackService(self.database, traffic, self.metrics, settings.feedback_days)
        # The thread of evaluations has a catalogue of its own: a catalogue is for one thread.
        self.runner = EvaluationRunner(Catalogue(store, runtime_name(settings.runtime)), self.database)
        limits = EvaluationLimits(settings.evaluation_max_pairs, settings.evaluation_kept)
        self.evaluations = EvaluationService(chooser, self.database, self.runner, limits)

    async def close(self) -> None:
        """Ends all services. What writes to the database ends before the database."""
        self.planner.close()
        await self.keys.close()
        await asyncio.gather(self.runner.close(), self.shadowing.close())
        await self.pool.close()
        await self.traffic_sync.close()
        self.database.close()
        if self.traces:
            await asyncio.to_thread(self.traces.close)


def check_store(settings: Settings, catalogue: Catalogue) -> None:
    """Checks at the start that the store has variants, among them those that the settings name.

    Raises:
        UnusableStore: there is no store, it is empty, or no variant translates the default pair.
        UnknownVariant: a setting names a variant that the store does not have.
    """
    if not settings.store.is_dir():
        raise UnusableStore(f"there is no store at {_shown(settings.store)}: {FIRST_ARTIFACT}")
    if not catalogue.entries():
        raise UnusableStore(f"the store at {_shown(settings.store)} is empty: {FIRST_ARTIFACT}")
    for task in Task:
        for variant in (settings.default_variant(task), settings.shadow_variant(task)):
            if variant is not None:
                catalogue.entry(task, variant)
    for task, variant in settings.preload:
        catalogue.entry(task, variant)
    try:
        Chooser(default_variants(settings, catalogue)).check_default_pair()
    except UnsupportedLanguages as error:
        raise UnusableStore(f"SLIMSEQ_DEFAULT_PAIR: {error}") from error


def default_variants(
    settings: Settings,
    catalogue: Catalogue,
    last_error: Callable[[Task, str], SlimseqError | None] = lambda task, variant: None,
) -> Defaults:
    """Returns the default variants. `last_error` tells why a variant could not be loaded; None: it may be a default."""
    variants = {task: settings.default_variant(task) for task in Task}
    return Defaults(catalogue, variants, settings.default_languages, last_error)


def _shown(store: Path) -> str:
    return str(store) if store.is_absolute() else f"./{store}"


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value else None
