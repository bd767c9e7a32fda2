"""The answer of `GET /memory`."""

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


class VariantMemory(BaseModel):
    """What one open variant takes."""

    task: Task
    variant: str
    runtime: str
    resident_bytes: int = Field(description="What opening it added to the process, measured.")
    disk_bytes: int = Field(description="On disk, of the format that the runtime reads.")
    load_seconds: float = Field(description="What verifying and opening it took.")


class MemoryReport(BaseModel):
    """What the process and its open variants take."""

    process_resident_bytes: int
    host_available_bytes: int
    budget_bytes: int | None = Field(description="The most that variants may take together; None: no limit is set.")
    evictions: int = Field(description="Variants closed to stay within the budget.")
    variants: list[VariantMemory]
