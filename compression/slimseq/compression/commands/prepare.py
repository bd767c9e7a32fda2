"""`prepare`: builds what derives from the store's artifacts, for the service to serve."""

from typing import Annotated

from cyclopts import Parameter

from slimseq.compression.commands.options import JsonOption, StoreOption, open_context, print_json, print_line
from slimseq.compression.option_groups import COMMON


def prepare_command(
    *,
    measure: Annotated[bool, Parameter(group=COMMON, help="Evaluate new int8 variants on the bundled sample.")] = True,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build what is missing: ONNX or CTranslate2 of artifacts with safetensors, and their int8 variants."""
    from slimseq.compression.prepare import prepare

    context = open_context(store)
    with context.working("prepare"):
        done = prepare(context, measure)
    if as_json:
        print_json(done)
    else:
        print_line("; ".join(done) if done else "nothing to build")
