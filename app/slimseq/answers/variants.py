"""The answers of `/variants` and `/quality`: a variant, and the share of the reference's score that it keeps."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.answers.interval import Interval
from slimseq.models_store.manifest import Task


class Variant(BaseModel):
    """A variant with its status and size."""

    task: Task
    variant: str
    status: Literal["loaded", "available", "broken", "failed"] = Field(
        description="`loaded`: in memory. `available`: loaded on first use. `broken`: cannot be loaded, see `error`. "
        "`failed`: in memory, but one of its workers has ended; the next request loads it anew."
    )
    error: str | None
    runtime: str | None = Field(description="Runtime of the variant. None if no runtime can load it.")
    default: bool = Field(
        description="Whether it is the default variant of its `languages`: it answers requests of this pair that name "
        "no variant. Each pair has one. `pairs` of the list tells which pair answers requests without languages."
    )
    default_reason: str | None = Field(description="Why it is the default variant: a setting, a promotion or neither.")
    digest: str | None
    languages: list[str] = Field(description="Codes. Of a translation: the source, then the target.")
    parameters: int | None
    bytes: int | None = Field(
        description="Size of the model files that the runtime reads, such as an ONNX export in fp32. `size` of the "
        "manifest has that of the weights."
    )


class Retention(BaseModel):
    """The share of the reference's score that a variant keeps: the least over all test sets."""

    metric: str = Field(
        description="The metric that the gates of the base model's variants name; without gates the task's primary one."
    )
    value: float
    interval: Interval | None = Field(description="95 % paired bootstrap interval.")
    dataset: str | None = Field(description="Data set with the least value. None for the reference itself.")
    split: str | None = None
    samples: int | None = None
    warning: str | None = Field(
        default=None, description="Says that the base model scores no more than the trivial baseline."
    )
