"""The answer of `GET /quality`, and what `GET /variants` says of a variant's quality."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Check, QualityScore, Task

Detail = Literal["short", "full"]
Verdict = Literal["reference", "passed", "rejected", "none"]


class ReferenceModel(BaseModel):
    """The model that a variant's lineage starts from; retention, speed and size are relative to it."""

    variant: str | None = Field(description="Its name in the store, or the last known one where it is not there.")
    digest: str
    is_stored: bool = Field(description="Whether the store holds it.")


class Retention(BaseModel):
    """The part of the reference's primary metric that a variant keeps: the least over the recorded data sets."""

    metric: str
    value: float
    interval: tuple[float, float] | None = Field(description="95 % paired bootstrap interval.")
    dataset: str | None = Field(description="The data set of the least value; None for the reference itself.")
    split: str | None = None
    samples: int | None = None


class Gate(BaseModel):
    """The gate that a recipe applied, as the manifest keeps it."""

    verdict: Verdict = Field(description="`none` where no gate was applied; `reference` for a base model without one.")
    checks: list[Check] = Field(description="The gate's conditions, with the measured values.")


class Quality(BaseModel):
    """What a variant keeps of its reference, and what its gate says."""

    retention: Retention | None = Field(description="None where it was not measured.")
    gate: Gate


class VariantQuality(Quality):
    """What was measured of one variant, as its manifest records it."""

    task: Task
    variant: str
    digest: str
    reference: ReferenceModel
    scores: list[QualityScore] | None = Field(default=None, description="Every score, with `detail=full` only.")


class QualityReport(BaseModel):
    """What was measured of every variant whose manifest can be read, each base model before its variants."""

    qualities: list[VariantQuality]
