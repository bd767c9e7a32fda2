"""What short texts wait for while long ones run: continuous batching lets them in, a static batch does not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.client import Client
from benchmarks.figures import Figures, figures
from benchmarks.load import RAMP_SHARE, Outcome, Send, closed_loop, poisson
from benchmarks.workload import Ask

# Short ones arrive whether or not the last is answered: each server is asked as often, however long they wait.
SHORTS_A_SECOND = 4.0
LONG_CLIENTS = 8
SHORT_TOKENS = 16
LONG_TOKENS = 192


@dataclass(frozen=True)
class Mixed:
    """What one server did with short texts, without and with long ones beside them.

    Args:
        name: the server's.
        description: what it is.
        alone: the short texts' figures where nothing else runs.
        beside: theirs while long ones run.
        long: the long texts' figures.
    """

    name: str
    description: str
    alone: Figures
    beside: Figures
    long: Figures

    @property
    def p95_ratio(self) -> float | None:
        """The short texts' p95 beside long ones by that alone."""
        if self.alone.p95_ms is None or self.beside.p95_ms is None:
            return None
        return self.beside.p95_ms / self.alone.p95_ms


def mixed(client: Client, name: str, description: str, asks: Sequence[Ask], seconds: float) -> Mixed:
    """Measures one running server.

    Args:
        client: asks the server.
        name: the server's.
        description: what it is.
        asks: short and long requests.
        seconds: length of each of the two windows.
    """
    short = [ask for ask in asks if ask.kind == "short"]
    long = [ask for ask in asks if ask.kind == "long"]

    async def shorts(send: Send) -> list[Outcome]:
        await asyncio.sleep(seconds * RAMP_SHARE)
        return await poisson(send, short, SHORTS_A_SECOND, seconds)

    async def both(send: Send) -> list[Outcome]:
        found = await asyncio.gather(shorts(send), closed_loop(send, long, LONG_CLIENTS, seconds))
        return [outcome for each in found for outcome in each]

    alone = client.poisson(short, SHORTS_A_SECOND, seconds)
    outcomes = client.outcomes(both)
    of_kind = {kind: [each for each in outcomes if each.kind == kind] for kind in ("short", "long")}
    return Mixed(name, description, alone, figures(of_kind["short"], seconds), long=figures(of_kind["long"], seconds))
