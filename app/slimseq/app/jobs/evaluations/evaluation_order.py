"""What the process of an evaluation receives, and how its outputs are written: lines of JSON on pipes.

Standard input has one `EvaluationOrder`, then a line for each sample and each output that is known already, and then an
empty line. `slimseq.app.jobs.evaluations.evaluation_child` says what standard output has.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

END_OF_INPUT = b"\n"


@dataclass(frozen=True)
class EvaluationOrder:
    """The request.

    Args:
        kind: `quality` or `latency`.
        store: folder of the artifacts.
        trusted_keys: PEM texts of the keys that may sign them; None where they need no signature.
        task: of all variants.
        runtimes: the runtime of each variant, in the order of the results.
        references: the reference of each variant. A variant without one has no retention.
        dataset: name of the data set.
        samples: maximum number of samples.
        are_samples_known: whether the samples follow. If not, the process loads the data set.
        options: the gate question, or the settings of a latency measurement.
    """

    kind: str
    store: str
    trusted_keys: Sequence[str] | None
    task: str
    runtimes: Mapping[str, str]
    references: Mapping[str, str]
    dataset: str
    samples: int
    are_samples_known: bool
    options: Mapping[str, Any]

    def line(self) -> bytes:
        """Serializes the order."""
        return line_of(asdict(self))

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Reads an order that `line` wrote."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**fields)


def line_of(message: object) -> bytes:
    """Serializes a message."""
    return json.dumps(message).encode() + b"\n"
