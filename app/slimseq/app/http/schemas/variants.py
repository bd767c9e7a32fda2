"""The responses of `GET /variants` and `GET /variants/{task}/{variant}`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from slimseq.app.http.schemas.quality import Quality, ReferenceModel
from slimseq.models_store.manifest import Manifest, Task


class Speed(BaseModel):
    """The recorded speed and memory of a variant: on this machine if it was measured there, else on another."""

    tokens_per_second: float
    speed_up: float | None = Field(
        description="Tokens a second divided by those of the base model, in the same setting. None if the base model "
        "was not measured."
    )
    resident_bytes: int = Field(description="Memory of the loaded variant.")
    runtime: str
    batch: int = Field(description="Number of texts at a time.")
    host: str = Field(description="Machine of the measurement.")


class Calibration(BaseModel):
    """How well the confidence of outputs was fitted on dev data. The manifest has the map itself."""

    model_config = ConfigDict(from_attributes=True)

    is_used: bool = Field(
        description="Whether outputs have a `confidence`: if `spearman_interval` is above 0. Else it may say nothing."
    )
    metric: str = Field(description="Quality of one output: `chrf` (divided by 100) or `rougeL`.")
    dataset: str = Field(description="Data sets, joined by ` + `.")
    samples: int
    spearman: float = Field(
        description="Rank correlation of the confidence with the quality: 1 is the right order of outputs, 0 says "
        "nothing."
    )
    spearman_interval: tuple[float, float] = Field(description="95 % interval.")
    calibration_error: float = Field(
        description="Mean difference of expected and actual quality, on samples that were not used."
    )


class VariantSummary(BaseModel):
    """A variant with its status, size and quality."""

    task: Task
    variant: str
    status: Literal["loaded", "available", "broken"] = Field(
        description="`loaded`: in memory. `available`: loaded on first use. `broken`: cannot be loaded, see `error`."
    )
    error: str | None
    runtime: str | None = Field(description="Runtime of the variant. None if no runtime can load it.")
    default: bool = Field(description="Whether it is the default variant of its task.")
    digest: str | None
    loaded_digest: str | None = Field(
        description="Digest of the loaded artifact. It differs from `digest` if the artifact on disk was replaced."
    )
    family: str | None = Field(description="Model family, such as `t5`.")
    languages: list[str] = Field(description="Codes. Of a translation: the source, then the target.")
    parameters: int | None
    bytes: int | None = Field(
        description="Size of the model files that the runtime reads, such as an ONNX export in fp32. `size` of the "
        "manifest has that of the weights."
    )
    reference: ReferenceModel | None = Field(
        description="Base model of the variant: itself for a base model. None if the manifest cannot be read."
    )
    quality: Quality | None = Field(description="Retention and gate.")
    speed: Speed | None = Field(description="None if it was not measured.")
    confidence: Calibration | None = Field(
        description="Calibration of the `confidence` of outputs. None if the variant has none."
    )


class VariantList(BaseModel):
    """All variants by task: each base model, `original` first, followed by its variants."""

    variants: list[VariantSummary]


class VariantDetail(VariantSummary):
    """A variant with its manifest."""

    manifest: Manifest | None = Field(description="None if it cannot be read.")
