"""Shows the metrics of a replica at Ray's own metrics endpoint, which each node has for Prometheus.

The metrics are those of `ServiceMetrics`. Here, each of their samples becomes a gauge of Ray with the same name, labels
and value, and the label `replica`. Ray adds `ray_` to the name. Counters and histograms are gauges there too, since
Ray's own types would say something else:

- Ray computes the sum of its histograms from the middle of their buckets (https://github.com/ray-project/ray/issues/54538).
- Ray's counters never go away. Gauges go away soon after their replica has ended.
"""

import asyncio
import logging
import math

from prometheus_client import CollectorRegistry
from ray.util.metrics import Gauge

REPLICA_LABEL = "replica"
# Half of the interval at which Ray by default collects metrics from the processes of a node.
PUBLISH_SECONDS = 5.0

logger = logging.getLogger(__name__)


class RayMetrics:
    """Copies all samples of a registry to Ray."""

    def __init__(self, registry: CollectorRegistry, replica: str) -> None:
        self._registry = registry
        self._replica = replica
        self._gauges: dict[str, Gauge] = {}
        # The series of the last time: name and labels.
        self._published: set[tuple[str, frozenset[tuple[str, str]]]] = set()

    def publish(self) -> None:
        """Copies the values of now. A series that is no longer there becomes NaN, since Ray keeps the last value."""
        found = set()
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name not in self._gauges:
                    labels = (*sample.labels, REPLICA_LABEL)
                    self._gauges[sample.name] = Gauge(sample.name, family.documentation, labels)
                self._set(sample.name, sample.labels, float(sample.value))
                found.add((sample.name, frozenset(sample.labels.items())))
        for name, gone in self._published - found:
            self._set(name, dict(gone), math.nan)
        self._published = found

    def _set(self, name: str, labels: dict[str, str], value: float) -> None:
        self._gauges[name].set(value, {**labels, REPLICA_LABEL: self._replica})


async def keep_publishing(metrics: RayMetrics, interval_seconds: float = PUBLISH_SECONDS) -> None:
    """Publishes at intervals, on the event loop, from which metrics are read on one machine too."""
    while True:
        try:
            metrics.publish()
        except Exception:
            # A replica whose metrics cannot be shown serves all the same.
            logger.exception("The metrics of this replica cannot be shown at Ray's metrics endpoint")
        await asyncio.sleep(interval_seconds)
