"""What figures were taken on: a record's machine, libraries and time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from slimseq.compression.context import library_versions
from slimseq.evaluation.host import cpu_flags, host_name


@dataclass(kw_only=True)
class Taken:
    """Base of the records that benchmarks write as JSON."""

    host: str = field(default_factory=host_name)
    cpu_flags: Sequence[str] = field(default_factory=cpu_flags)
    versions: dict[str, str] = field(default_factory=library_versions)
    measured_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
