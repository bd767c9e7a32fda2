"""`python -m benchmarks.sizing`: how many replicas clients need, projected from measurements of one replica.

One replica is measured under closed loads. Its latency is fitted as a straight line over the number of concurrent
requests: `fixed + each * n`, so that `1 / each` is its capacity. A replica then is a queue whose requests share it,
with a rate that depends on their number. Its mean latency under Poisson arrivals depends on the mean size of requests
alone (Cohen 1979, The Multiple Phase Service Network with Generalized Processor Sharing). The p95 is the mean times the
ratio that Poisson arrivals showed.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import MILLISECONDS, BenchmarkFailed, Record, parser_of, record, run, say
from benchmarks.loads.load import Client, Figures, figures, make_requests, poisson
from benchmarks.sizing_lines import lines
from benchmarks.systems.servers import Setup, running, slimseq
from slimseq.evaluation.host import available_cores
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store

CONCURRENT = (1, 2, 4, 8, 16, 32)
# Shares of the measured capacity at which requests arrive.
SHARES = (0.4, 0.7)
CLIENTS = (10, 50, 200, 1000, 5000)
# States of the queue that are summed: more have no probability at the shares that are projected.
STATES = 2000
# The fitted capacity is at most this many times a rate that was measured.
MAX_EXTRAPOLATION = 2.0
# No replica is planned to be busier: above, small errors of the fit are large errors of the latency.
MAX_SHARE = 0.8
SECONDS_AN_HOUR = 3600.0
MILLION = 1e6


@dataclass(frozen=True)
class Fit:
    """The latency of one replica, in seconds: `fixed + each * n` with `n` concurrent requests."""

    fixed: float
    each: float

    @property
    def capacity(self) -> float:
        """Requests a second that it approaches with many concurrent ones."""
        return 1 / self.each

    def rate(self, concurrent: float) -> float:
        """Returns the requests a second with so many concurrent ones."""
        return concurrent / (self.fixed + self.each * concurrent)

    def mean_seconds(self, arrivals: float) -> float:
        """Returns the mean latency under Poisson arrivals a second. Infinite from its capacity on."""
        if arrivals >= self.capacity:
            return math.inf
        # In a birth-death process, the probability of `n` is proportional to the product of arrivals / rate(1..n).
        states = np.arange(1, STATES + 1)
        logarithms = np.cumsum(np.log(arrivals * (self.fixed + self.each * states) / states))
        weights = np.exp(logarithms - max(float(logarithms.max()), 0.0))
        empty = math.exp(-max(float(logarithms.max()), 0.0))
        mean_requests = float((states * weights).sum() / (weights.sum() + empty))
        return mean_requests / arrivals


def fit(concurrent: Sequence[int], rates: Sequence[float]) -> Fit:
    """Fits the latencies of closed loads, so that relative errors are small.

    Args:
        concurrent: the number of clients of each load.
        rates: the requests a second of each.

    Raises:
        BenchmarkFailed: a load had no answers, or the replica was far from full.
    """
    if not all(rates):
        raise BenchmarkFailed("a load had no answers")
    seconds = np.array(concurrent) / np.array(rates)
    columns = np.stack([1 / seconds, np.array(concurrent) / seconds], axis=1)
    fixed, each = np.linalg.lstsq(columns, np.ones(len(seconds)), rcond=None)[0]
    if fixed < 0:
        # A straight line through the origin: the replica is full with one request.
        fixed, each = 0.0, float((columns[:, 1] @ np.ones(len(seconds))) / (columns[:, 1] @ columns[:, 1]))
    if each <= 0 or 1 / each > MAX_EXTRAPOLATION * max(rates):
        raise BenchmarkFailed("the replica was not full: measure it with more clients (--concurrent)")
    return Fit(float(fixed), float(each))


@dataclass(frozen=True)
class Replica:
    """One replica, as measured.

    Args:
        fit: its latency.
        p95_ratio: p95 of the latency divided by its mean, under Poisson arrivals.
        tokens: output tokens of a request, on average.
        resident_bytes: memory of its process.
    """

    fit: Fit
    p95_ratio: float
    tokens: float
    resident_bytes: int

    def plan(self, arrivals: float, p95_seconds: float, price: float) -> dict[str, Any]:
        """Returns the smallest number of replicas for arrivals a second, and what they are expected to do and cost.

        Args:
            arrivals: requests a second, divided evenly among the replicas.
            p95_seconds: the p95 of the latency to keep.
            price: of a replica for an hour.
        """
        replicas = max(math.ceil(arrivals / (MAX_SHARE * self.fit.capacity)), 1)
        alone = self.fit.mean_seconds(1e-6) * self.p95_ratio
        # More replicas do not make a request faster than it is alone.
        while alone < p95_seconds < self.fit.mean_seconds(arrivals / replicas) * self.p95_ratio:
            replicas += 1
        mean = self.fit.mean_seconds(arrivals / replicas)
        return {
            "requests_per_second": arrivals,
            "tokens_per_second": arrivals * self.tokens,
            "replicas": replicas,
            "share": arrivals / replicas / self.fit.capacity,
            "mean_ms": mean * MILLISECONDS,
            "p95_ms": mean * self.p95_ratio * MILLISECONDS,
            "resident_bytes": replicas * self.resident_bytes,
            "price_an_hour": replicas * price,
            "price_a_million_tokens": replicas * price / (arrivals * self.tokens * SECONDS_AN_HOUR) * MILLION,
        }


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures one replica and projects.

    Raises:
        SlimseqError: there is no such variant, the service does not start, or it does not answer.
    """
    setup = Setup(Store(given.store), given.task, given.variant, scratch, given.threads or available_cores())
    requests = make_requests(setup.manifest)
    with running(slimseq(setup), scratch, requests) as client:
        closed = [(count, _load(f"{count} clients", client.closed(count, given.seconds))) for count in given.concurrent]
        fitted = fit([count for count, _ in closed], [figures.requests_per_second for _, figures in closed])
        capacity = max(figures.requests_per_second for _, figures in closed)
        arriving = [_arriving(client, share * capacity, given.seconds) for share in given.shares]
        resident_bytes = int(client.call("GET", "/memory")["process_resident_bytes"])
    for each in arriving:
        each["projected_mean_ms"] = fitted.mean_seconds(each["rate"]) * MILLISECONDS
    last = closed[-1][1]
    replica = Replica(
        fitted,
        arriving[-1]["figures"].p95_ms / arriving[-1]["mean_ms"],
        last.tokens_per_second / last.requests_per_second,
        resident_bytes,
    )
    plans = [
        {"clients": count, **replica.plan(count / given.think, given.p95 / MILLISECONDS, given.price)}
        for count in given.clients
    ]
    return record(
        task=given.task.value,
        variant=given.variant,
        settings={
            "threads": setup.threads,
            "seconds": given.seconds,
            "think_seconds": given.think,
            "p95_ms": given.p95,
            "price_an_hour": given.price,
            "currency": given.currency,
        },
        closed=[{"clients": count, "figures": figures} for count, figures in closed],
        arriving=arriving,
        replica=replica,
        plans=plans,
    )


def _arriving(client: Client, rate: float, seconds: float) -> Record:
    """Measures Poisson arrivals, with the mean latency, which `Figures` have not."""
    outcomes = client.run(lambda send: poisson(send, client.requests, rate, seconds))
    found = _load(f"{rate:.1f} requests/s", figures(outcomes, seconds))
    answered = [each.ended - each.sent for each in outcomes if each.error is None and each.ended >= 0]
    return {"rate": rate, "figures": found, "mean_ms": float(np.mean(answered)) * MILLISECONDS}


def _load(name: str, found: Figures) -> Figures:
    """Returns the figures of a load.

    Raises:
        BenchmarkFailed: a request failed, or none was answered.
    """
    if found.errors or not found.answered:
        raise BenchmarkFailed(f"{name}: {found.errors} requests failed: {found.first_error or 'no answer'}")
    say(f"{name}: {found.requests_per_second:.1f} requests/s, p95 {found.p95_ms:.0f} ms")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("sizing", __doc__)
    parser.add_argument("--task", type=Task, choices=list(Task), default=Task.TRANSLATION)
    parser.add_argument("--variant", default="quantized")
    parser.add_argument("--concurrent", nargs="+", type=int, default=CONCURRENT, help="clients of the measured loads")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of the capacity that arrive")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each load")
    parser.add_argument("--threads", type=int, default=0, help="of the replica; all cores by default")
    parser.add_argument("--clients", nargs="+", type=int, default=CLIENTS, help="to project")
    parser.add_argument("--think", type=float, default=10.0, help="seconds between two requests of a client")
    parser.add_argument("--p95", type=float, default=1000.0, help="milliseconds to keep")
    parser.add_argument("--price", type=float, default=0.1, help="of a replica for an hour")
    parser.add_argument("--currency", default="EUR")
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
