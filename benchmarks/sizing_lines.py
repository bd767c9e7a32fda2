"""The section of a record of `benchmarks.sizing`: what was measured, how well the model fits, and what it projects."""

from collections.abc import Iterator

from benchmarks.command import MILLISECONDS, Record, measured_on, number, table

BYTES_A_GIB = 2**30


def lines(found: Record) -> Iterator[str]:
    """Yields the lines."""
    settings, replica = found["settings"], found["replica"]
    fixed, each = replica["fit"]["fixed"], replica["fit"]["each"]
    yield from (f"## {found['task']}/{found['variant']}", "")
    yield f"`python -m benchmarks.sizing --task {found['task']} --variant {found['variant']}`"
    yield from ("", measured_on(found), "")
    yield from ("### Measured: one replica", "")
    yield (
        f"{settings['threads']} threads, {settings['seconds']:g} s a load, {replica['tokens']:.1f} output tokens a "
        f"request, {replica['resident_bytes'] / BYTES_A_GIB:.2f} GiB. The load came from the same machine. Fitted: "
        f"latency = {fixed * MILLISECONDS:.1f} ms + {each * MILLISECONDS:.2f} ms for each concurrent request, so at "
        f"most {1 / each:.1f} requests/s."
    )
    yield ""
    rows = []
    for load in found["closed"]:
        count, measured = load["clients"], load["figures"]["requests_per_second"]
        fitted = count / (fixed + each * count)
        rows.append(
            [
                str(count),
                number(measured, 1),
                number(load["figures"]["tokens_per_second"], 0),
                number(load["figures"]["p95_ms"], 0),
                number(fitted, 1),
                f"{fitted / measured - 1:+.0%}",
            ]
        )
    yield from table(("clients that wait", "requests/s", "tokens/s", "p95 ms", "fitted requests/s", "error"), rows)
    yield from ("", "Poisson arrivals, which the fit has not seen:", "")
    yield from table(
        ("requests/s", "mean ms", "p95 ms", "projected mean ms", "error"),
        [
            [
                number(load["rate"], 1),
                number(load["mean_ms"], 0),
                number(load["figures"]["p95_ms"], 0),
                number(load["projected_mean_ms"], 0),
                f"{load['projected_mean_ms'] / load['mean_ms'] - 1:+.0%}",
            ]
            for load in found["arriving"]
        ],
    )
    yield from ("", "### Projected: clients", "")
    price = f"{settings['price_an_hour']:g} {settings['currency']}"
    yield (
        f"Each client sends a request every {settings['think_seconds']:g} s. Replicas are enough for a p95 of "
        f"{settings['p95_ms']:g} ms and for a share of at most 80 % of their capacity. A replica is assumed to cost "
        f"{price} an hour. None of this was measured."
    )
    yield ""
    yield from table(
        (
            "clients",
            "requests/s",
            "tokens/s",
            "replicas",
            "share",
            "mean ms",
            "p95 ms",
            "GiB",
            "an hour",
            "per 1M tokens",
        ),
        [
            [
                number(plan["clients"], 0),
                number(plan["requests_per_second"], 1),
                number(plan["tokens_per_second"], 0),
                number(plan["replicas"], 0),
                f"{plan['share']:.0%}",
                number(plan["mean_ms"], 0),
                number(plan["p95_ms"], 0),
                number(plan["resident_bytes"] / BYTES_A_GIB, 1),
                number(plan["price_an_hour"], 2),
                number(plan["price_a_million_tokens"], 3),
            ]
            for plan in found["plans"]
        ],
    )
