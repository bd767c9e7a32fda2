"""`python -m benchmarks.keys`: the service with keys, limits of a key, trusted hosts and CORS, beside one without.

Both serve the same variant on the same threads, in turns. The limits are high enough that no request is refused, but
each request is counted: with `--redis URL` in Redis, else in the process.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.command import BenchmarkFailed, Record, add_variant, measured_on, parser_of, record, run
from benchmarks.loads.load import make_requests
from benchmarks.loads.turns import Ratio, compare, throughput_and_latency
from benchmarks.systems.servers import Setup, running, slimseq
from slimseq.app.identity.keys import KeyLimits, Scope, add_key
from slimseq.evaluation.host import available_cores
from slimseq.models_store.store import Store

LIMITS = KeyLimits(
    requests_per_minute=1_000_000,
    characters_per_minute=1_000_000_000,
    concurrent_requests=10_000,
    evaluations_per_day=1000,
)


def measure(given: argparse.Namespace, scratch: Path) -> Record:
    """Measures both.

    Raises:
        SlimseqError: there is no such variant, one of the services does not start, or a request fails.
    """
    task, variant = given.variant
    setup = Setup(Store(given.store.resolve()), task, variant, scratch, available_cores())
    requests, without = make_requests(setup.manifest), slimseq(setup)
    keys_file = scratch / "keys.json"
    _, token = add_key(keys_file, "load", (Scope.GENERATE,), LIMITS, expires_at=None)
    settings = {"keys_file": keys_file, "trusted_hosts": "127.0.0.1", "cors_origins": "https://example.com"}
    if given.redis:
        settings["limits_url"] = given.redis
    added = {f"SLIMSEQ_{name.upper()}": str(value) for name, value in settings.items()}
    with ExitStack() as stack:
        plain = stack.enter_context(running(replace(without, name="without"), scratch, requests))
        secured = stack.enter_context(
            running(replace(without, environment={**without.environment, **added}, token=token), scratch, requests)
        )
        compared = compare({"without": plain, "slimseq": secured}, throughput_and_latency(given.seconds), given.rounds)
    if failed := [each["first_error"] for each in _figures(compared["rounds"]) if each["errors"]]:
        raise BenchmarkFailed(f"a request failed: {failed[0]}")
    return record(artifact=f"{task}/{variant}", limits_in="Redis" if given.redis else "the process", **compared)


def _figures(rounds: Sequence[Record]) -> Iterator[Record]:
    yield from (vars(each) for round_ in rounds for servers in round_.values() for each in servers.values())


def lines(found: Record) -> Iterator[str]:
    """Yields what was compared, and every ratio."""
    yield f"{found['artifact']}, with keys and limits in {found['limits_in']} over without:"
    for name, ratio in found["ratios"]["without"].items():
        yield f"  {name}: {Ratio(**ratio) if ratio else 'one of them did not answer'}"
    yield measured_on(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = parser_of("keys", __doc__)
    add_variant(parser, "translation/quantized")
    parser.add_argument("--redis", metavar="URL", help="count in Redis, such as redis://127.0.0.1:6379/0")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each load")
    parser.add_argument("--rounds", type=int, default=7)
    run(parser, arguments, measure, lines)


if __name__ == "__main__":
    main()
