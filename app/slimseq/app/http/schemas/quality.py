"""The response of `GET /quality`, and the quality in the responses of `GET /variants`."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Check, QualityScore, Task

Detail = Literal["short", "full"]


class ReferenceModel(BaseModel):
    """The base model of a variant. Retention, speed and size are relative to it."""

    variant: str | None = Field(description="Its name in the store. If it is not there: its last known name.")
    digest: str
    is_stored: bool = Field(description="Whether it is in the store.")


class Retention(BaseModel):
    """The share of the reference's score that a variant keeps: the least over the recorded data sets."""

    metric: str = Field(description="Primary metric of the task.")
    value: float
    interval: tuple[float, float] | None = Field(description="95 % paired bootstrap interval.")
    dataset: str | None = Field(description="Data set with the least value. None for the reference itself.")
    split: str | None = None
    samples: int | None = None


class Gate(BaseModel):
    """The quality gate of the recipe that built the variant, as its manifest stores it."""

    verdict: Literal["passed", "rejected", "none"] = Field(description="`none` if no gate was applied.")
    checks: list[Check] = Field(description="The conditions of the gate, with the measured values.")


class Quality(BaseModel):
    """Retention and gate of a variant."""

    retention: Retention | None = Field(description="None if it was not measured.")
    gate: Gate


class VariantQuality(Quality):
    """The recorded quality of a variant."""

    task: Task
    variant: str
    digest: str
    reference: ReferenceModel
    scores: list[QualityScore] | None = Field(default=None, description="All scores, with `detail=full` only.")


class QualityReport(BaseModel):
    """The recorded quality of all variants with a readable manifest, each base model before its variants."""

    qualities: list[VariantQuality]
