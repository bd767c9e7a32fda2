"""What speed measurements of all kinds generate from, and how often."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from slimseq.compression.option_groups import COMMON, flat
from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task

POSITIVE = Parameter(validator=Number(gte=1))


@flat(COMMON)
@dataclass(frozen=True)
class TimedTexts:
    """What to generate from, and how often."""

    dataset: Annotated[str, Parameter(name="--data")] = "sample"
    """Texts: `sample` (bundled), the name of a hub data set, or a file."""
    split: Annotated[str, Parameter(parse=False)] = "test"
    """Split of a hub data set."""
    samples: Annotated[int, Parameter(parse=False)] = 16
    """Number of texts to generate from."""
    batch: Annotated[int, Parameter(parse=False)] = 1
    """Batch size. Every worker generates batches of this size."""
    repeats: Annotated[int, POSITIVE] = 3
    """How often each batch is timed."""
    num_beams: Annotated[int | None, POSITIVE] = None
    """Number of beams for beam search. By default each variant's own."""
    runtime: str | None = None
    """Runtime: onnxruntime, ctranslate2 or torch. By default the one that serves; --tune compares all of them."""

    def texts(self, task: Task) -> list[str]:
        """Reads the sources.

        Raises:
            DatasetUnavailable: they cannot be read.
        """
        return [example.source for example in load_examples(task, self.dataset, self.split, self.samples).examples]
