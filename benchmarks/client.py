"""Asks a running server as loads do, and puts it under the loads that results are of."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.connection import Answer, BadAnswer, Connections
from benchmarks.figures import Figures, figures, percentile_ms
from benchmarks.load import Outcome, Send, by_turns, closed_loop, poisson
from benchmarks.workload import Ask

T = TypeVar("T")
OK = 200
DETAIL_CHARACTERS = 200


@dataclass(frozen=True)
class Client:
    """Where a running server is, and what generations are posted to."""

    port: int
    path: str

    def closed(self, asks: Sequence[Ask], clients: int, seconds: float) -> Figures:
        """Returns the figures under clients that each wait for their answer."""
        return figures(self.outcomes(lambda send: closed_loop(send, asks, clients, seconds)), seconds)

    def poisson(self, asks: Sequence[Ask], rate: float, seconds: float) -> Figures:
        """Returns the figures under requests that arrive at a rate, whatever the server does."""
        return figures(self.outcomes(lambda send: poisson(send, asks, rate, seconds)), seconds)

    def single_by_turns(self, ask: Ask, other: Callable[[], object], seconds: float) -> tuple[float | None, float]:
        """Returns median milliseconds of one request and of something else in this process, done in turns.

        Args:
            ask: the request.
            other: what is done between two of them.
            seconds: how long.

        Returns:
            The request's, None where none was answered, and the other's.
        """
        found, others = self.run(lambda connections: by_turns(self.send_on(connections), ask, other, seconds))
        median = percentile_ms(others, 50)
        assert median is not None
        return percentile_ms([each.ended - each.asked for each in found if each.error is None], 50), median

    def runtime(self, ask: Ask) -> str | None:
        """Asks once; returns what the server says that it ran on, None where it says nothing.

        Raises:
            OSError, BadAnswer: there is no answer, or another than a generation.
        """

        async def once(connections: Connections) -> str | None:
            named: str | None = _checked(await connections.post(self.path, ask.body)).json.get("runtime")
            return named

        return self.run(once)

    def outcomes(self, load: Callable[[Send], Awaitable[list[Outcome]]]) -> list[Outcome]:
        """Runs a load."""
        return self.run(lambda connections: load(self.send_on(connections)))

    def run(self, work: Callable[[Connections], Awaitable[T]]) -> T:
        """Runs what needs connections of its own, on an event loop of its own."""

        async def connected() -> T:
            async with Connections(self.port) as connections:
                return await work(connections)

        return asyncio.run(connected())

    def send_on(self, connections: Connections) -> Send:
        """Returns what sends one request."""

        async def send(ask: Ask) -> int:
            outputs = _checked(await connections.post(self.path, ask.body)).json["outputs"]
            return sum(output["output_tokens"] for output in outputs)

        return send


def _checked(answer: Answer) -> Answer:
    if answer.status != OK:
        detail = answer.body.decode(errors="replace")[:DETAIL_CHARACTERS]
        raise BadAnswer(f"status {answer.status}: {detail}")
    return answer
