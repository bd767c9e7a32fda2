"""What the service tells the process of an evaluation: who is evaluated, with what, and on what."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class EvaluationOrder:
    """One line of JSON before the posted pairs.

    Args:
        store: folder of the artifacts.
        task: of all variants.
        runtimes: what opens each variant, in the order of the results.
        references: for each variant the one that its retention is relative to; one that has none has no retention.
        dataset: its name.
        samples: how many of it at most.
        pair_bytes: length of the pairs that follow, as a JSON list of `[source, target]`; 0 where a data set is named.
    """

    store: str
    task: str
    runtimes: Mapping[str, str]
    references: Mapping[str, str]
    dataset: str
    samples: int
    pair_bytes: int

    def line(self) -> bytes:
        """Returns it as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Reads what `line` wrote."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields)
