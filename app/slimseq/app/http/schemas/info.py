"""The responses of `GET /info` and of the probes."""

from typing import Literal

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


class Health(BaseModel):
    """The response of a probe."""

    status: Literal["ok", "ready", "degraded"]
    degraded: list[str] = Field(default=[], description="Loaded variants whose last generation failed.")


class RuntimeInfo(BaseModel):
    """A runtime for artifacts."""

    name: str
    format: str
    is_installed: bool


class ArtifactInfo(BaseModel):
    """The digest of an artifact on disk and in memory."""

    task: Task
    variant: str
    digest: str
    loaded_digest: str | None = Field(description="Digest of the loaded artifact. None if it is not loaded.")


class HostInfo(BaseModel):
    """The machine. The CPU flags decide the speed of int8."""

    cpu: str
    cpu_flags: list[str]
    cores: int


class Info(BaseModel):
    """Versions, runtimes, machine and artifacts of the service."""

    version: str
    python: str
    platform: str
    libraries: dict[str, str] = Field(description="Versions of the libraries, by name.")
    runtimes: list[RuntimeInfo]
    host: HostInfo
    artifacts: list[ArtifactInfo]
