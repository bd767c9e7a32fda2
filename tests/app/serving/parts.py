"""The parts of a service that others stand on, for a store of a test's own."""

from dataclasses import dataclass

from slimseq.app.observability.metrics import ServiceMetrics
from slimseq.app.serving.catalogue import Catalogue
from slimseq.app.serving.layout import LayoutChooser
from slimseq.app.serving.loading import Loader, Opener
from slimseq.app.serving.pool import Pool
from slimseq.app.serving.request_queue import WorkLimits
from slimseq.app.serving.runtimes import RuntimeChooser
from slimseq.inference.generator import open_generator
from slimseq.models_store.store import Store


@dataclass(frozen=True)
class Parts:
    """What there is, what opens it, and what is open."""

    catalogue: Catalogue
    runtimes: RuntimeChooser
    pool: Pool


def parts_of(store: Store, layouts: LayoutChooser | None = None, opener: Opener = open_generator) -> Parts:
    """Connects them; nothing is open yet."""
    catalogue, metrics = Catalogue(store, {}), ServiceMetrics("test")
    runtimes = RuntimeChooser(catalogue)
    loader = Loader(store, metrics, WorkLimits(), layouts, opener)
    pool = Pool(loader, metrics, runtimes)
    catalogue.can_serve = pool.can_serve
    return Parts(catalogue, runtimes, pool)
