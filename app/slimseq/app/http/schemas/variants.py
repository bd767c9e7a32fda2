"""The responses of `GET /variants` and `GET /variants/{task}/{variant}`."""

from typing import Literal

from pydantic import BaseModel, Field

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
    languages: list[str]
    parameters: int | None
    bytes: int | None = Field(description="Bytes on disk of the format that the runtime reads.")
    reference: ReferenceModel | None = Field(
        description="Base model of the variant: itself for a base model. None if the manifest cannot be read."
    )
    quality: Quality | None = Field(description="Retention and gate.")
    speed: Speed | None = Field(description="None if it was not measured.")


class VariantList(BaseModel):
    """All variants by task: each base model, `original` first, followed by its variants."""

    variants: list[VariantSummary]


class VariantDetail(VariantSummary):
    """A variant with its manifest."""

    manifest: Manifest | None = Field(description="None if it cannot be read.")
