"""The record of a `compress` command: the model, the data and the options that decide its result.

The folder of a run keeps this record as its first finding (see `RunFolder`). `changed_options` says which options may
differ in the next command of the folder.
"""

from typing import Any

from slimseq.compression.compress.compress_options import CompressOptions
from slimseq.compression.context import Context
from slimseq.compression.step_keys import data_digest
from slimseq.models_store.manifest import Manifest

# The name of the record among the findings.
COMMAND = "command"
WITHIN, KEEP, TEST = "--within", "--keep", "--test"


def command_record(context: Context, original: Manifest, options: CompressOptions) -> dict[str, Any]:
    """Returns what decides the result of a command. Data files are identified by hashes of their content."""
    return {
        "the model": original.digest,
        "--data": data_digest(options.train),
        "--unlabelled": data_digest(options.unlabelled),
        "--teacher-outputs": data_digest([str(options.teacher_outputs)]) if options.teacher_outputs else None,
        "--dev": data_digest(options.dev),
        TEST: data_digest(options.test),
        KEEP: options.keep,
        WITHIN: f"{options.seconds:g}s",
        "--aim": options.aim,
        "--metric": options.metric_for(original.task),
        "--scorer": options.scorer,
        "--name": options.name,
        "--seed": context.seed,
        "--device": context.device,
    }
