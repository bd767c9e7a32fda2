"""Adds derived formats to an artifact, beside its safetensors and outside of its digest."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from slimseq.compression.context import Context, library_versions
from slimseq.compression.errors import BadParameters
from slimseq.inference.graphs.on_demand import export_artifact
from slimseq.models_store.manifest import Task

if TYPE_CHECKING:
    from slimseq.compression.export.ctranslate2_converter import ComputeType

# What makes ONNX graphs: Slimseq's own builder or optimum. The record of an export has this name.
OnnxExporter = Literal["slimseq", "optimum"]


def add_onnx(context: Context, task: Task, variant: str, exporter: OnnxExporter = "slimseq") -> None:
    """Exports an artifact's safetensors to fp32 ONNX and puts the result beside them."""
    if exporter == "slimseq":
        with _checked_export(context, task, variant, "onnx"):
            export_artifact(context.store, task, variant)
        return
    # Imported only for this exporter, which needs packages of its own.
    from slimseq.compression.export.optimum_onnx import export_with_optimum

    _add(
        context,
        task,
        variant,
        name="onnx",
        exporter=exporter,
        versions=library_versions(),
        export=export_with_optimum,
    )


def add_ctranslate2(context: Context, task: Task, variant: str, compute_type: "ComputeType" = "float32") -> None:
    """Exports an artifact's safetensors to CTranslate2 and puts the result beside them."""
    from slimseq.compression.export.ctranslate2_converter import export_ctranslate2

    versions = library_versions() | {"ctranslate2": version("ctranslate2")}
    export = partial(export_ctranslate2, compute_type=compute_type)
    _add(
        context,
        task,
        variant,
        name="ctranslate2",
        exporter=f"ctranslate2-{compute_type}",
        versions=versions,
        export=export,
    )


# The function that adds each derived format to an artifact, by the format's name.
EXPORTS: Mapping[str, Callable[[Context, Task, str], None]] = {"onnx": add_onnx, "ctranslate2": add_ctranslate2}


def _add(
    context: Context,
    task: Task,
    variant: str,
    *,
    name: str,
    exporter: str,
    versions: dict[str, str],
    export: Callable[[Path, Path], None],
) -> None:
    with _checked_export(context, task, variant, name):
        context.store.verify(task, variant, only="safetensors")
        with context.store.exporting(task, variant, name, exporter, versions) as folder:
            export(context.store.folder(task, variant), folder)


@contextmanager
def _checked_export(context: Context, task: Task, variant: str, name: str) -> Iterator[None]:
    """Checks that there is something to export from, and shows the export as work in progress."""
    if not context.store.manifest(task, variant).has_format("safetensors"):
        raise BadParameters(f"{task}/{variant} has no safetensors to export from")
    with context.working(f"export {task}/{variant} to {name}"):
        yield
