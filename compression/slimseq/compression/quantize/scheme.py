"""The protocol of a quantization scheme, and its input.

A new scheme is one module here, one name in `options.SchemeName` and one line in `quantize.SCHEMES`.
"""

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
    from slimseq.compression.train.data.pairs import DataFiles, TrainingSet


@dataclass(frozen=True)
class QuantizationRun:
    """The input of one quantization.

    Args:
        context: seed, device and progress.
        parent: the manifest of the artifact to quantize.
        source: the artifact's folder, with the weights.
        options: how to quantize.
        files: data files; None if none were given.
        report_status: shows a short status to the user.
    """

    context: Context
    parent: Manifest
    source: Path
    options: QuantizeOptions
    files: "DataFiles | None"
    report_status: Callable[[str], None]

    def calibration(self) -> "TrainingSet":
        """Returns the first pairs of the calibration files, or of the training files if there are none.

        Raises:
            BadParameters: there are neither.
            BadData: a file cannot be used.
        """
        return self._read(self._files("calibration", "train"), self.options.calibration_samples)

    def dev(self) -> "TrainingSet":
        """Returns the first pairs of the dev files, or of the calibration files if there are none.

        Raises:
            BadParameters: there are neither.
            BadData: a file cannot be used.
        """
        return self._read(self._files("dev", "calibration"), self.options.fallback_samples)

    def _files(self, *kinds: str) -> Sequence[str]:
        for kind in kinds:
            names: Sequence[str] = getattr(self.files, kind) if self.files is not None else ()
            if names:
                return names
        raise BadParameters(f"{self.options.scheme} needs {' or '.join(kinds)} data here; name at least one file")

    def _read(self, names: Sequence[str], samples: int) -> "TrainingSet":
        from slimseq.compression.train.data.pairs import TrainingSet, limits_of, read_examples

        generation = self.parent.generation
        limits = limits_of(generation, read_configuration(self.source).max_positions)
        examples = read_examples(self.parent.task, names, samples)[:samples]
        return TrainingSet(examples, Tokenizer(self.source), generation.prefix, limits)


class Scheme(Protocol):
    """A quantization scheme."""

    @property
    def description(self) -> str:
        """One sentence for the model card."""

    def write(self, run: QuantizationRun, folder: Path) -> dict[str, Any]:
        """Writes the quantized model's files, without configuration and tokenizer.

        Args:
            run: what to quantize and how.
            folder: the artifact's folder.

        Returns:
            Entries of the lineage step's parameters, in addition to the options.

        Raises:
            BadParameters: the scheme does not support the model, or needs data that was not given.
            BadSource: the model cannot be exported.
        """
