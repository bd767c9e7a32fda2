"""Outputs that `slimseq generate --as-is` made before, perhaps on other machines.

`distill`, `evaluate` and `compress` read them.

A row has an id that follows from its text, the artifact's digest and the options. So an output is only found if it is
of the same artifact, with the same options, for the same text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimseq.evaluation.bulk.data_files import DataFile
from slimseq.evaluation.bulk.row_settings import RowIds, RowSettings
from slimseq.evaluation.dataset_files import DatasetUnavailable, Example
from slimseq.inference.generator import TextOutput
from slimseq.models_store.manifest import Manifest

ID = "row_id"


class TeacherOutputs:
    """The outputs of a file, by id. The file has a row for each text, as `.jsonl`, `.jsonl.gz` or `.parquet`.

    Raises:
        DatasetUnavailable: the file cannot be read, or has rows without an id.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._outputs: dict[str, TextOutput] = {}
        for row in DataFile(path).rows():
            identifier = row.fields.get(ID)
            if row.problem is not None or not isinstance(identifier, str):
                reason = row.problem or f"it has no {ID}, which rows of `slimseq generate` have in .jsonl and .parquet"
                raise DatasetUnavailable(f"line {row.line} of {path.name}: {reason}")
            if row.fields.get("error") is None:
                self._outputs[identifier] = _text_output(row.fields, f"line {row.line} of {path.name}")

    def found(
        self, manifest: Manifest, options: Mapping[str, Any], examples: Sequence[Example]
    ) -> list[TextOutput | None]:
        """Returns the output of an artifact for each example. None where the file has none.

        An example has its own prefix, or that of the artifact. `options` replace the artifact's defaults.
        """
        ids: dict[str | None, RowIds] = {}
        outputs: list[TextOutput | None] = []
        for example in examples:
            if example.prefix not in ids:
                settings = RowSettings(options=options, prefix=example.prefix, as_is=True)
                ids[example.prefix] = RowIds(manifest, settings)
            outputs.append(self._outputs.get(ids[example.prefix].of(example.source)))
        return outputs

    def all_found(
        self, manifest: Manifest, options: Mapping[str, Any], examples: Sequence[Example]
    ) -> list[TextOutput]:
        """Returns the output of an artifact for each example.

        Raises:
            DatasetUnavailable: the file lacks some. Names the command that makes them.
        """
        outputs = self.found(manifest, options, examples)
        complete = [output for output in outputs if output is not None]
        if len(complete) < len(outputs):
            artifact = f"{manifest.task} {manifest.variant}"
            given = "".join(
                f" --{name.replace('_', '-')} {value}" for name, value in options.items() if value is not None
            )
            raise DatasetUnavailable(
                f"{self._name} lacks {len(outputs) - len(complete):,} of {len(outputs):,} outputs: they must be of the "
                f"same texts, and made by `slimseq generate {artifact} --as-is{given}` with the artifact of the digest "
                f"{manifest.digest}"
            )
        return complete


def _text_output(fields: Mapping[str, Any], place: str) -> TextOutput:
    try:
        return TextOutput(
            text=str(fields["output"]),
            finish_reason=fields["finish_reason"],
            input_tokens=int(fields["input_tokens"]),
            output_tokens=int(fields["output_tokens"]),
            truncated=bool(fields["truncated"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetUnavailable(f"{place} is not a row of `slimseq generate`: {error}") from error
