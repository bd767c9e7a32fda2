"""The parts of a service that others stand on, for a store of a test's own."""

from dataclasses import dataclass

from app.metrics import ServiceMetrics
from app.serving.catalogue import Catalogue
from app.serving.loading import Loader
from app.serving.pool import Pool
from app.serving.runtimes import RuntimeChooser
from app.serving.worker import WorkLimits
from models_store.store import Store


@dataclass(frozen=True)
class Parts:
    """What there is, what opens it, and what is open."""

    catalogue: Catalogue
    runtimes: RuntimeChooser
    pool: Pool


def parts_of(store: Store) -> Parts:
    """Connects them; nothing is open yet."""
    catalogue, metrics = Catalogue(store, {}), ServiceMetrics("test")
    runtimes = RuntimeChooser(catalogue)
    return Parts(catalogue, runtimes, Pool(Loader(store, metrics, WorkLimits()), metrics, runtimes))
