"""The answer of `GET /quality`."""

from typing import Literal

from pydantic import BaseModel, Field

from models_store.manifest import QualityScore, Task

Verdict = Literal["reference", "passed", "failed", "unmeasured"]


class Gate(BaseModel):
    """What a variant keeps of the original, against what its last technique must keep."""

    metric: str = Field(description="The task's primary metric.")
    technique: str | None = Field(description="The last technique of the lineage.")
    least_retention: float | None = Field(description="What the gate asks for; None for a reference.")
    retention: float | None = Field(description="The least over the recorded data sets; None where unmeasured.")
    verdict: Verdict


class VariantQuality(BaseModel):
    """What was measured of one variant, as its manifest records it."""

    task: Task
    variant: str
    digest: str
    gate: Gate
    scores: list[QualityScore]


class QualityReport(BaseModel):
    """What was measured of every variant whose manifest can be read."""

    qualities: list[VariantQuality]
