"""The record of a `compress` command: the model, the data and the options that decide its result.

The folder of a run keeps this record as its first finding (see `RunFolder`). A command with another record is refused
in this folder. Otherwise it would decide by numbers that were measured on other data, or for another quality.
"""

from collections.abc import Mapping
from typing import Any

from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.step_keys import data_digest
from slimseq.models_store.manifest import Manifest

# The name of the record among the findings.
COMMAND = "command"
# The parts of a record whose values are hashes. Errors name these parts without their values.
HASHED = {"the model", "--data", "--unlabelled", "--dev", "--test"}


def command_record(context: Context, original: Manifest, options: CompressOptions) -> dict[str, Any]:
    """Returns what decides the result of a command. Data files are identified by hashes of their content."""
    return {
        "the model": original.digest,
        "--data": data_digest(options.train),
        "--unlabelled": data_digest(options.unlabelled),
        "--dev": data_digest(options.dev),
        "--test": data_digest(options.test),
        "--keep": options.keep,
        "--within": f"{options.seconds:g}s",
        "--aim": options.aim,
        "--metric": options.metric_for(original.task),
        "--scorer": options.scorer,
        "--name": options.name,
        "--seed": context.seed,
        "--device": context.device,
    }


def check_same_command(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Checks that a folder is empty, or has the run of the command with this record.

    Raises:
        BadParameters: the folder has the run of another command. The error says what differs.
    """
    known = folder.get(COMMAND)
    if known is None:
        return

    differing: list[str] = []
    for name, value in record.items():
        known_value = known.get(name)
        if value == known_value:
            continue
        if name in HASHED:
            differing.append(name)
        else:
            differing.append(f"{name} ({_shown(known_value)} there, {_shown(value)} now)")
    if differing:
        raise BadParameters(
            f"{folder.path} has the run of another command, which differs in {', '.join(differing)}; name another "
            f"--folder, or remove {folder.path} to start again"
        )


def _shown(value: object) -> str:
    is_unset = value is None or value == ""
    return "none" if is_unset else str(value)
