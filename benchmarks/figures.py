"""From the outcomes of a load to its figures: throughput, percentiles of latency, and errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load import Outcome

MILLISECONDS_PER_SECOND = 1000.0
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Figures:
    """What a server did under one load.

    Args:
        requests_per_second: answered within the window.
        tokens_per_second: written in these answers.
        p50_ms: median of the latency of all that was on its way within the window and answered, whenever it was asked:
            what waits for longer than the window lasts must not vanish. None where nothing was.
        p95_ms: its 95th percentile.
        p99_ms: its 99th percentile.
        answered: how many requests the percentiles are of.
        errors: how many requests failed, or had no answer in time.
        first_error: what the first of them failed with.
    """

    requests_per_second: float
    tokens_per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    answered: int
    errors: int
    first_error: str | None = None


def figures(outcomes: Sequence[Outcome], seconds: float) -> Figures:
    """Returns the figures of a load whose window had so many seconds."""
    within = [each for each in outcomes if each.error is None and 0 <= each.ended < seconds]
    latencies = [each.ended - each.asked for each in outcomes if each.error is None and each.ended >= 0]
    errors = [each.error for each in outcomes if each.error is not None]
    return Figures(
        requests_per_second=len(within) / seconds,
        tokens_per_second=sum(each.tokens for each in within) / seconds,
        p50_ms=percentile_ms(latencies, PERCENTILES[0]),
        p95_ms=percentile_ms(latencies, PERCENTILES[1]),
        p99_ms=percentile_ms(latencies, PERCENTILES[2]),
        answered=len(latencies),
        errors=len(errors),
        first_error=errors[0] if errors else None,
    )


def percentile_ms(seconds: Sequence[float], percentile: float) -> float | None:
    """Returns a percentile of durations in milliseconds, linear between two of them; None where there are none."""
    if not seconds:
        return None
    return float(np.percentile(np.asarray(seconds) * MILLISECONDS_PER_SECOND, percentile))


def number(value: float | None, digits: int) -> str:
    """Returns a figure in words, `-` where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"
