"""The service and its runtime in process, in turns: what it makes of its tokens, and what it adds to one request.

A machine's speed drifts by more than what is asked for here. So both are measured within seconds of each other, several
times, and compared turn by turn.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from benchmarks.client import Client
from benchmarks.in_flight import continuous_tokens_per_second
from benchmarks.in_process import InProcess, OpenIn, crew_in, tokens_per_second
from benchmarks.workload import Ask
from slimseq.evaluation.fastest import Layout

TURNS = 5


@dataclass(frozen=True)
class Turn:
    """What both did within seconds of each other.

    Args:
        service_tokens_per_second: for clients who wait.
        tokens_per_second: in process, at its best batch.
        continuous_tokens_per_second: in process, with as many inputs in flight as there are clients, in the layout that
            the service has; None where the runtime starts and ends its rows together.
        service_single_p50_ms: median of one request asked again and again; None where none was answered.
        single_p50_ms: of the same in process, in the layout that the service has.
    """

    service_tokens_per_second: float
    tokens_per_second: float
    continuous_tokens_per_second: float | None
    service_single_p50_ms: float | None
    single_p50_ms: float


@dataclass(frozen=True)
class Beside:
    """All turns.

    Args:
        clients: who waited for the service's answers.
        layout: the service's.
        turns: what was measured.
    """

    clients: int
    layout: Layout
    turns: list[Turn]

    @property
    def share(self) -> float:
        """The service's tokens a second by those in process, the median turn's."""
        return median(turn.service_tokens_per_second / turn.tokens_per_second for turn in self.turns)

    @property
    def continuous_share(self) -> float | None:
        """The same by those of engines that have as many in flight, the median turn's; None where there are none."""
        shares = [
            turn.service_tokens_per_second / turn.continuous_tokens_per_second
            for turn in self.turns
            if turn.continuous_tokens_per_second
        ]
        return median(shares) if shares else None

    @property
    def single_p50_ms(self) -> float:
        """A single request in process, in the service's layout, the median turn's."""
        return median(turn.single_p50_ms for turn in self.turns)

    @property
    def overhead_ms(self) -> float | None:
        """What the service adds to a single request, the median turn's; None where it answered none."""
        added = [
            turn.service_single_p50_ms - turn.single_p50_ms
            for turn in self.turns
            if turn.service_single_p50_ms is not None
        ]
        return median(added) if added else None


def beside(
    client: Client,
    open_in: OpenIn,
    best: InProcess,
    layout: Layout,
    asks: Sequence[Ask],
    clients: int,
    seconds: float,
) -> Beside:
    """Lets the running service and its runtime in this process take turns; one waits while the other works.

    Args:
        client: asks the service.
        open_in: opens the artifact in a layout.
        best: in which layout, and in batches of which size, it is fastest.
        layout: the service's, in which single requests are timed: fewer threads would be no work of the service's.
        asks: what is asked; the first alone for single requests.
        clients: who wait for the service's answers.
        seconds: how long each of them takes a turn with all that it can, and with single requests.
    """
    with ExitStack() as stack:
        busy = stack.enter_context(crew_in(open_in, best.layout))
        alone = busy if layout == best.layout else stack.enter_context(crew_in(open_in, layout))
        turns = []
        for _ in range(TURNS):
            served = client.closed(asks, clients, seconds).tokens_per_second
            best_batches = tokens_per_second(busy, asks, best.batch, seconds)
            continuous = continuous_tokens_per_second(alone.generator, asks, layout.workers, clients, seconds)
            # One by one: a machine's speed drifts by more within seconds than a service adds.
            single = client.single_by_turns(asks[0], lambda: alone.generate([asks[0]]), 2 * seconds)
            turns.append(Turn(served, best_batches, continuous, *single))
        return Beside(clients, layout, turns)
