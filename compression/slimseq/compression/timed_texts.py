"""Which texts a speed measurement generates from, and the settings that all kinds of it take."""

from dataclasses import dataclass

from slimseq.evaluation.datasets import load_examples
from slimseq.models_store.manifest import Task


@dataclass(frozen=True)
class TimedTexts:
    """What is generated from, and how often.

    Args:
        dataset: `sample`, a hub data set's name, or a file.
        split: where the data set has several.
        samples: the first so many texts.
        batch: texts generated at once, by each worker.
        repeats: how often each batch is timed.
        num_beams: None takes each variant's own.
        runtime: None takes the one that serves, or all of them where they are compared.
    """

    dataset: str = "sample"
    split: str = "test"
    samples: int = 16
    batch: int = 1
    repeats: int = 3
    num_beams: int | None = None
    runtime: str | None = None

    def texts(self, task: Task) -> list[str]:
        """Reads the sources.

        Raises:
            DatasetUnavailable: they cannot be read.
        """
        return [example.source for example in load_examples(task, self.dataset, self.split, self.samples).examples]
