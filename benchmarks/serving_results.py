"""What `benchmarks.serving` found, as data: every server's figures under every load, and what they were taken on."""

import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Literal

from benchmarks.beside import Beside
from benchmarks.contest import Contest
from benchmarks.figures import Figures
from benchmarks.in_process import InProcess
from benchmarks.mix import Mixed
from benchmarks.soak import Soak
from benchmarks.taken import Taken
from slimseq.compression.context import library_versions

SERVING_LIBRARIES = ("fastapi", "uvicorn")
# What derives from the turns of the service and its runtime.
BESIDE = ("share", "continuous_share", "overhead_ms", "single_p50_ms")


@dataclass(frozen=True)
class Load:
    """One load and a server's figures under it.

    Args:
        kind: `closed`: clients that wait for their answers; `poisson`: requests that arrive at a rate.
        amount: how many clients, or how many requests a second.
        figures: what the server did.
    """

    kind: Literal["closed", "poisson"]
    amount: float
    figures: Figures

    @property
    def words(self) -> str:
        """The load in words."""
        if self.kind == "poisson":
            return f"{self.amount:.1f} arrive a second"
        return f"{self.amount:.0f} client{'' if self.amount == 1 else 's'}"


@dataclass(frozen=True)
class ServerResult:
    """What one server did under all loads.

    Args:
        name: the server's.
        description: what it is and how it is set.
        runtime: what it says that it ran on, None where it says nothing.
        loads: the figures.
    """

    name: str
    description: str
    runtime: str | None
    loads: list[Load] = field(default_factory=list)

    @property
    def capacity(self) -> float:
        """The most requests a second that it answered to clients who wait; 0 where there was no such load."""
        return max((load.figures.requests_per_second for load in self.loads if load.kind == "closed"), default=0.0)

    @property
    def tokens_per_second(self) -> float:
        """The most tokens a second that it wrote for clients who wait."""
        return max((load.figures.tokens_per_second for load in self.loads if load.kind == "closed"), default=0.0)


@dataclass
class Results(Taken):
    """All of it.

    Args:
        task: what was generated.
        variant: with which variant.
        settings: of the generation and of the loads.
        servers: by the order in which they took turns.
        contest: how servers stand to each other, in turns; None of fewer than two.
        left_out: why servers are not there, by their names.
        in_process: where the same runtime as Slimseq's is fastest without the service around it.
        beside: both of them in turns.
        soak: Slimseq under a constant load.
        mix: short texts beside long ones.
    """

    task: str
    variant: str
    settings: dict[str, Any]
    servers: list[ServerResult] = field(default_factory=list)
    contest: Contest | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    in_process: InProcess | None = None
    beside: Beside | None = None
    soak: Soak | None = None
    mix: list[Mixed] = field(default_factory=list)
    versions: dict[str, str] = field(
        kw_only=True, default_factory=lambda: library_versions() | {name: version(name) for name in SERVING_LIBRARIES}
    )

    def as_json(self) -> str:
        """Returns the results with what derives from them."""
        found = asdict(self)
        if self.beside:
            found["beside"] |= {name: getattr(self.beside, name) for name in BESIDE}
        if self.contest:
            ratios = self.contest.ratios("slimseq").items()
            found["contest"]["ratios"] = {
                other: {name: asdict(ratio) if ratio else None for name, ratio in each.items()}
                for other, each in ratios
            }
        for row, each in zip(found["servers"], self.servers, strict=True):
            row |= {"capacity": each.capacity, "tokens_per_second": each.tokens_per_second}
        for row, mixed in zip(found["mix"], self.mix, strict=True):
            row["p95_ratio"] = mixed.p95_ratio
        return json.dumps(found, indent=2) + "\n"
