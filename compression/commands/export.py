"""`export`: other formats of an artifact, beside its safetensors."""

from compression.commands.options import (
    DEFAULT_STORE,
    StoreOption,
    TaskArgument,
    VariantArgument,
    open_context,
    print_line,
)


def export_command(
    task: TaskArgument,
    variant: VariantArgument = "original",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Export an artifact's safetensors to ONNX (fp32), so that it serves without PyTorch."""
    from compression.exporting import add_onnx

    context = open_context(store)
    add_onnx(context, task, variant)
    folder = context.store.folder(task, variant) / "onnx"
    stored = sum(path.stat().st_size for path in folder.iterdir())
    print_line(f"{task}/{variant}: onnx, {stored / 1e6:.1f} MB")
