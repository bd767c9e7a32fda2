"""The answers of `GET /info` and of the probes."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


class Health(BaseModel):
    """A probe's answer."""

    status: Literal["ok", "ready", "degraded"]
    degraded: list[str] = Field(default=[], description="Variants that serve, and whose last run broke.")


class RuntimeInfo(BaseModel):
    """One runtime that artifacts can be opened with."""

    name: str
    format: str
    is_installed: bool


class ArtifactInfo(BaseModel):
    """Which artifact is on disk, and which of it is in memory."""

    task: Task
    variant: str
    digest: str
    loaded_digest: str | None = Field(description="Of what answers requests; None while it is not in memory.")


class HostInfo(BaseModel):
    """The machine: what decides how fast int8 is."""

    cpu: str
    cpu_flags: list[str]
    cores: int


class Info(BaseModel):
    """What runs here."""

    version: str
    python: str
    platform: str
    libraries: dict[str, str] = Field(description="Version by name, of what serves.")
    runtimes: list[RuntimeInfo]
    host: HostInfo
    artifacts: list[ArtifactInfo]
