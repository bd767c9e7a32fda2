"""Adds derived formats to an artifact, beside its safetensors and outside of its digest."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from slimseq.compression.context import Context, library_versions
from slimseq.compression.errors import BadParameters
from slimseq.inference.graphs.on_demand import export_artifact
from slimseq.models_store.manifest import Task

if TYPE_CHECKING:
    from slimseq.compression.export.ctranslate2 import ComputeType


class OnnxExporter(StrEnum):
    """Who makes ONNX graphs, by the name that an export's record has for it."""

    SLIMSEQ = "slimseq"
    OPTIMUM = "optimum"


def add_onnx(context: Context, task: Task, variant: str, exporter: OnnxExporter = OnnxExporter.SLIMSEQ) -> None:
    """Exports an artifact's safetensors to fp32 ONNX and puts the result beside them."""
    manifest = context.store.manifest(task, variant)
    if not manifest.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to export from")
    if exporter is OnnxExporter.SLIMSEQ:
        with context.progress() as progress:
            bar = progress.add_task(f"export {task}/{variant}", total=1, status="to onnx")
            export_artifact(context.store, task, variant)
            progress.update(bar, advance=1)
        return
    from slimseq.compression.export.optimum_onnx import export_with_optimum

    _add(context, task, variant, "onnx", exporter.value, library_versions(), export_with_optimum)


def add_ctranslate2(context: Context, task: Task, variant: str, compute_type: "ComputeType" = "float32") -> None:
    """Exports an artifact's safetensors to CTranslate2 and puts the result beside them."""
    from slimseq.compression.export.ctranslate2 import export_ctranslate2

    def export(source: Path, folder: Path) -> None:
        export_ctranslate2(source, folder, compute_type)

    versions = library_versions() | {"ctranslate2": version("ctranslate2")}
    _add(context, task, variant, "ctranslate2", f"ctranslate2-{compute_type}", versions, export)


# How an artifact gets each derived format, by its name.
EXPORTS: Mapping[str, Callable[[Context, Task, str], None]] = {"onnx": add_onnx, "ctranslate2": add_ctranslate2}


def _add(
    context: Context,
    task: Task,
    variant: str,
    name: str,
    exporter: str,
    versions: dict[str, str],
    export: Callable[[Path, Path], None],
) -> None:
    manifest = context.store.manifest(task, variant)
    if not manifest.has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to export from")
    context.store.verify(task, variant, only="safetensors")
    with context.progress() as progress:
        bar = progress.add_task(f"export {task}/{variant}", total=1, status=f"to {name}")
        with context.store.exporting(task, variant, name, exporter, versions) as folder:
            export(context.store.folder(task, variant), folder)
        progress.update(bar, advance=1)
