"""Adds derived formats to an artifact, beside its safetensors and outside of its digest."""

from compression.context import Context, library_versions
from compression.errors import BadParameters
from models_store.manifest import Task


def add_onnx(context: Context, task: Task, variant: str) -> None:
    """Exports an artifact's safetensors to fp32 ONNX and puts the result beside them.

    Raises:
        UnknownVariant, CorruptArtifact: as `Store.verify` does.
        BadParameters: the artifact has no safetensors.
        BadSource: the model cannot be exported.
    """
    from compression.export.onnx import export_onnx

    if not context.store.manifest(task, variant).has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to export from")
    context.store.verify(task, variant, only="safetensors")
    with context.progress() as progress:
        bar = progress.add_task(f"export {task}/{variant}", total=1, status="to ONNX")
        with context.store.exporting(task, variant, "onnx", "optimum-onnx", library_versions()) as folder:
            export_onnx(context.store.folder(task, variant), folder)
        progress.update(bar, advance=1)
