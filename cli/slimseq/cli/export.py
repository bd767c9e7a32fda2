"""`export`: a variant gets the format of another runtime, beside its safetensors."""

from typing import Annotated, Literal

from cyclopts import Parameter

from slimseq.cli.arguments import StoreOption, TaskArgument, open_context, print_line
from slimseq.cli.next_step import command_line
from slimseq.compression.export.exporting import OnnxExporter, add_ctranslate2, add_onnx
from slimseq.compression.options import COMMON
from slimseq.inference.runtimes.registry import SERVING_RUNTIMES


def export_command(
    task: TaskArgument,
    variant: Annotated[str, Parameter(help="Variant to export.")] = "original",
    /,
    *,
    form: Annotated[
        Literal["onnx", "ctranslate2"], Parameter(name="--format", group=COMMON, help="Format to add.")
    ] = "onnx",
    compute_type: Annotated[
        Literal["float32", "int8", "int8_float16"], Parameter(group=COMMON, help="Type of CTranslate2's weights.")
    ] = "float32",
    exporter: Annotated[
        OnnxExporter, Parameter(group=COMMON, help="Exporter of the ONNX graphs.")
    ] = OnnxExporter.SLIMSEQ,
    store: StoreOption = None,
) -> None:
    """Export an artifact's safetensors to ONNX (fp32) or CTranslate2, so that it serves without PyTorch."""
    context = open_context(store)
    if form == "onnx":
        add_onnx(context, task, variant, exporter)
    else:
        add_ctranslate2(context, task, variant, compute_type)
    folder = context.store.folder(task, variant) / form
    stored = sum(path.stat().st_size for path in folder.iterdir())
    print_line(f"{task}/{variant}: {form}, {stored / 1e6:.1f} MB")
    words = ("benchmark", task.value, variant, "--runtime", SERVING_RUNTIMES[form].name)
    print_line(f"Next, measure its speed: {command_line(context, *words)}")
