"""The answers of `GET /variants` and `GET /variants/{task}/{variant}`."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.app.http.schemas.quality import Quality, ReferenceModel
from slimseq.models_store.manifest import Family, Manifest, Task


class VariantSummary(BaseModel):
    """One variant: what it is, whether it serves, what it weighs and keeps."""

    task: Task
    variant: str
    status: Literal["loaded", "available", "broken"] = Field(
        description="In memory; opened when first asked for; or cannot be opened, as `error` says."
    )
    error: str | None
    runtime: str | None = Field(description="What opened it or would; None where nothing can.")
    default: bool = Field(description="Whether it answers when a request names no variant.")
    digest: str | None
    loaded_digest: str | None = Field(
        description="Of what is in memory; another than `digest` once the artifact on disk was replaced."
    )
    family: Family | None
    languages: list[str]
    parameters: int | None
    bytes: int | None = Field(description="On disk, of the format that the runtime reads.")
    reference: ReferenceModel | None = Field(
        description="The model that its lineage starts from: itself for a base model, None where it cannot be read."
    )
    quality: Quality | None = Field(description="What it keeps of its reference, and its gate.")


class VariantList(BaseModel):
    """All variants by task: each base model, `original` first, and its variants after it."""

    variants: list[VariantSummary]


class VariantDetail(VariantSummary):
    """One variant with its whole manifest."""

    manifest: Manifest | None = Field(description="None where it cannot be read.")
