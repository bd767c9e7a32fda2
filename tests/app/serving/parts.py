"""The parts of a service that others stand on, for a store of a test's own."""

from dataclasses import dataclass

from app.metrics import ServiceMetrics
from app.serving.catalogue import Catalogue
from app.serving.layout import LayoutChooser
from app.serving.loading import Loader, Opener
from app.serving.pool import Pool
from app.serving.runtimes import RuntimeChooser
from app.serving.worker import WorkLimits
from models_store.generator import open_generator
from models_store.store import Store


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
