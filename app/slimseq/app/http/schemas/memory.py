"""The response of `GET /memory`."""

from pydantic import BaseModel, Field

from slimseq.models_store.manifest import Task


class VariantMemory(BaseModel):
    """Memory of a loaded variant."""

    task: Task
    variant: str
    runtime: str
    resident_bytes: int = Field(description="Measured growth of the process when the variant was loaded.")
    disk_bytes: int = Field(description="Bytes on disk of the format that the runtime reads.")
    load_seconds: float = Field(description="Time to verify and load it.")


class MemoryReport(BaseModel):
    """Memory of the process and of its loaded variants."""

    process_resident_bytes: int
    base_resident_bytes: int = Field(
        description="Memory of the process without variants: Python and the libraries of the runtimes, as measured "
        "before the first load. 0 until then. With the variants, and what requests in progress need, it adds up to the "
        "memory of the process."
    )
    host_available_bytes: int
    budget_bytes: int | None = Field(description="Memory budget for loaded variants. None means no limit.")
    evictions: int = Field(description="Number of variants unloaded to stay within the budget.")
    variants: list[VariantMemory]
