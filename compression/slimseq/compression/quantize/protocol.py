"""What a scheme is: something that writes a rounded model into a folder. A new one is one file here, named after it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.inference.models.configuration import read_configuration
from slimseq.inference.tokenizer import Tokenizer
from slimseq.models_store.manifest import Manifest

if TYPE_CHECKING:
    from slimseq.compression.training.data import DataFiles, TrainingSet


@dataclass(frozen=True)
class Work:
    """What one quantization works on.

    Args:
        context: seed, device and progress.
        parent: the manifest of the artifact that is rounded.
        source: its folder, or another Hugging Face folder whose weights take their place.
        options: how to round.
        files: the data that was named; may be none.
        say: shows one short status to the person who watches.
    """

    context: Context
    parent: Manifest
    source: Path
    options: QuantizeOptions
    files: "DataFiles | None"
    say: Callable[[str], None]

    def calibration(self) -> "TrainingSet":
        """Returns the first calibration pairs, or training pairs where no calibration files are named.

        Raises:
            BadParameters: neither is named.
            BadData: a file cannot be used.
        """
        return self._read(self._named("calibration", "train"), self.options.calibration_samples)

    def dev(self) -> "TrainingSet":
        """Returns the first dev pairs, or calibration pairs where no dev files are named.

        Raises:
            BadParameters: neither is named.
            BadData: a file cannot be used.
        """
        return self._read(self._named("dev", "calibration"), self.options.fallback_samples)

    def train(self) -> "TrainingSet":
        """Returns all training pairs.

        Raises:
            BadParameters: no training files are named.
            BadData: a file cannot be used.
        """
        return self._read(self._named("train"), None)

    def _named(self, *kinds: str) -> Sequence[str]:
        for kind in kinds:
            names: Sequence[str] = getattr(self.files, kind) if self.files is not None else ()
            if names:
                return names
        raise BadParameters(f"{self.options.scheme} needs {' or '.join(kinds)} data here; name at least one file")

    def _read(self, names: Sequence[str], samples: int | None) -> "TrainingSet":
        from slimseq.compression.training.data import TrainingSet, limits_of, read_examples

        generation = self.parent.generation
        limits = limits_of(generation, read_configuration(self.source).max_positions)
        examples = read_examples(self.parent.task, names, samples)[:samples]
        return TrainingSet(examples, Tokenizer(self.source), generation.prefix, limits)


class Scheme(Protocol):
    """Rounds a model its own way. Each module of a scheme has one as `SCHEME`."""

    description: str

    def write(self, work: Work, folder: Path) -> dict[str, Any]:
        """Writes the rounded model's files, configuration and tokenizer left out.

        Args:
            work: what to round and how.
            folder: the artifact's folder.

        Returns:
            What the step's record says beside the options.

        Raises:
            BadParameters: the model cannot be rounded so, or data is needed that nobody named.
            BadSource: the model cannot be exported.
        """
