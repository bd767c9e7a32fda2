"""What the process and its open variants take, measured."""

import psutil

from slimseq.app.http.schemas.memory import MemoryReport, VariantMemory
from slimseq.app.serving.pool import Pool
from slimseq.evaluation.host import resident_bytes


def memory_report(pool: Pool) -> MemoryReport:
    """Returns the memory of the process now, and of each variant as measured when it was opened."""
    return MemoryReport(
        process_resident_bytes=resident_bytes(),
        host_available_bytes=psutil.virtual_memory().available,
        budget_bytes=pool.limits.resident_bytes,
        evictions=pool.evictions,
        variants=[
            VariantMemory(
                task=loaded.key.task,
                variant=loaded.key.variant,
                runtime=loaded.runtime,
                resident_bytes=loaded.resident_bytes,
                disk_bytes=loaded.disk_bytes,
                load_seconds=loaded.load_seconds,
            )
            for loaded in pool.loaded()
        ],
    )
