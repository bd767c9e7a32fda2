"""The response of `GET /quality`, and the quality in the responses of `GET /variants`."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Check, Task
from slimseq.models_store.measurements import QualityScore

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


class OfflineAgreement(BaseModel):
    """How close the variant's outputs are to its reference's: the least over the recorded data sets."""

    metric: str = Field(description="Metric of the similarity: `chrf` (divided by 100) or `rougeL`.")
    exact: float = Field(description="Share of outputs that are equal to the reference's.")
    similarity: float = Field(description="Mean similarity to the reference's output, between 0 and 1.")
    interval: tuple[float, float] = Field(description="95 % bootstrap interval of the similarity.")
    dataset: str
    split: str
    samples: int


class LiveAgreement(BaseModel):
    """How close the outputs of live requests are to the reference's, since both artifacts were first compared."""

    metric: str = Field(description="Metric of the similarity: `chrf` (divided by 100) or `rougeL`.")
    outputs: int = Field(description="Number of compared outputs.")
    exact: float = Field(description="Share of outputs that are equal to the reference's.")
    similarity: float = Field(description="Mean similarity to the reference's output, between 0 and 1.")
    interval: tuple[float, float] = Field(
        description="95 % interval of the similarity. It is valid whenever, and however often, one looks."
    )


class Gate(BaseModel):
    """The quality gate of the recipe that built the variant, as its manifest stores it."""

    verdict: Literal["passed", "rejected", "none"] = Field(description="`none` if no gate was applied.")
    checks: list[Check] = Field(description="The conditions of the gate, with the measured values.")


class Quality(BaseModel):
    """Retention, agreement with the reference, and gate of a variant."""

    retention: Retention | None = Field(description="None if it was not measured.")
    agreement: OfflineAgreement | None = Field(description="None for a base model, and if it was not measured.")
    gate: Gate


class VariantQuality(Quality):
    """The quality of a variant, as recorded and on live requests."""

    task: Task
    variant: str
    digest: str
    reference: ReferenceModel
    live_agreement: LiveAgreement | None = Field(
        description="Agreement on live requests. The reference answers a share of them again, `SLIMSEQ_SHADOW_SHARE`. "
        "None if it answered none."
    )
    scores: list[QualityScore] | None = Field(default=None, description="All scores, with `detail=full` only.")


class QualityReport(BaseModel):
    """The quality of all variants with a readable manifest, each base model before its variants."""

    qualities: list[VariantQuality]
