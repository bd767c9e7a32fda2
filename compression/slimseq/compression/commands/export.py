"""`export`: other formats of an artifact, beside its safetensors."""

from enum import StrEnum
from typing import Annotated

import typer

from slimseq.compression.commands.next_step import command_line
from slimseq.compression.commands.options import (
    StoreOption,
    TaskArgument,
    VariantArgument,
    open_context,
    print_line,
)
from slimseq.compression.export.exporting import OnnxExporter


class Form(StrEnum):
    """Formats that derive from safetensors."""

    ONNX = "onnx"
    CTRANSLATE2 = "ctranslate2"


class ComputeTypeName(StrEnum):
    """What CTranslate2 stores matrices in."""

    FLOAT32 = "float32"
    INT8 = "int8"
    INT8_FLOAT16 = "int8_float16"


def export_command(
    task: TaskArgument,
    variant: VariantArgument = "original",
    form: Annotated[Form, typer.Option("--format", help="What to add.")] = Form.ONNX,
    compute_type: Annotated[ComputeTypeName, typer.Option(help="Of CTranslate2's weights.")] = ComputeTypeName.FLOAT32,
    exporter: Annotated[OnnxExporter, typer.Option(help="Of ONNX graphs.")] = OnnxExporter.SLIMSEQ,
    store: StoreOption = None,
) -> None:
    """Export an artifact's safetensors to ONNX (fp32) or CTranslate2, so that it serves without PyTorch."""
    from slimseq.compression.export.exporting import add_ctranslate2, add_onnx

    context = open_context(store)
    if form is Form.ONNX:
        add_onnx(context, task, variant, exporter)
    else:
        add_ctranslate2(context, task, variant, compute_type.value)
    folder = context.store.folder(task, variant) / form.value
    stored = sum(path.stat().st_size for path in folder.iterdir())
    print_line(f"{task}/{variant}: {form.value}, {stored / 1e6:.1f} MB")
    runtime = "ctranslate2" if form is Form.CTRANSLATE2 else "onnxruntime"
    words = ("benchmark", task.value, variant, "--runtime", runtime)
    print_line(f"Next, measure its speed: {command_line(context, *words)}")
