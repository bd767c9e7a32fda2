"""The parts of a service that others stand on, for a store of a test's own."""

from dataclasses import dataclass

from slimseq.app.observability.service_metrics import ServiceMetrics
from slimseq.app.serving.batching.request_queue import WorkLimits
from slimseq.app.serving.pool.loading import Loader, Opener
from slimseq.app.serving.pool.pool import Pool
from slimseq.app.serving.selection.catalogue import Catalogue
from slimseq.app.serving.selection.chooser import Chooser
from slimseq.app.serving.selection.defaults import Defaults
from slimseq.inference.generator import open_generator
from slimseq.models_store.store import Store


@dataclass(frozen=True)
class Parts:
    catalogue: Catalogue
    chooser: Chooser
    pool: Pool


def parts_of(store: Store, workers: int = 1, opener: Opener = open_generator) -> Parts:
    """Connects them; nothing is open yet."""
    catalogue, metrics = Catalogue(store), ServiceMetrics("test")
    loader = Loader(store, metrics, WorkLimits(), workers, opener=opener)
    pool = Pool(loader, metrics, catalogue)
    return Parts(catalogue, Chooser(Defaults(catalogue, last_error=pool.last_error)), pool)
