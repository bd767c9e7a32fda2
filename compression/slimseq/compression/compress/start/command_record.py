"""What a run's findings belong to: the model, the data and the options of one command.

The folder of a run keeps it as the first finding. A command whose record differs is refused, since numbers that were
measured for other data or another bar would decide for it.
"""

from collections.abc import Mapping
from typing import Any

from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.compress.run_folder import RunFolder
from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.step_keys import data_digest
from slimseq.models_store.manifest import Manifest

# The name of the finding.
COMMAND = "command"
# The parts of a record whose values are too long to show.
HASHED = {"the model", "--data", "--unlabelled", "--dev", "--test"}


def command_record(context: Context, original: Manifest, options: CompressOptions) -> dict[str, Any]:
    """Returns what decides the result of a command. Data files are told by their content, and not by their names."""
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
    """Checks that the findings of a folder, if it has any, belong to a command.

    Raises:
        BadParameters: they belong to another one; the line says what differs.
    """
    known = folder.get(COMMAND)
    if known is None:
        return
    differing = [
        name if name in HASHED else f"{name} ({_shown(known.get(name))} there, {_shown(value)} now)"
        for name, value in record.items()
        if known.get(name) != value
    ]
    if differing:
        raise BadParameters(
            f"{folder.path} has the run of another command, which differs in {', '.join(differing)}; name another "
            f"--folder, or remove {folder.path} to start again"
        )


def _shown(value: object) -> str:
    return "none" if value in (None, "") else f"{value}"
