"""Builds the ONNX graphs of an artifact with safetensors, once, into its folder `onnx/`.

The registry of runtimes calls it when an artifact is opened for the first time, or after an update of Slimseq whose
engine needs other graphs. `slimseq.inference.graphs.export` writes them.
"""

from importlib.metadata import version

from slimseq.inference.graphs.tensor_names import CONTRACT
from slimseq.models_store.files import Export
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

FORMAT = "onnx"
EXPORTER = "slimseq"
# An export records the versions that it was made with. This is the key of `CONTRACT` among them.
GRAPHS = "graphs"


def ensure_exported(store: Store, task: Task, variant: str) -> None:
    """Builds `onnx/` of an artifact where it is missing or was made for another contract."""
    if needs_export(store, store.manifest(task, variant)):
        export_artifact(store, task, variant)


def needs_export(store: Store, manifest: Manifest) -> bool:
    """Whether an artifact has no graphs, or graphs of our exporter for another contract."""
    export = store.export_of(manifest.task, manifest.variant, FORMAT)
    return is_outdated(export) if export is not None else not manifest.has_format(FORMAT)


def export_artifact(store: Store, task: Task, variant: str) -> None:
    """Writes `onnx/` of an artifact with safetensors, in fp32.

    Raises:
        UnknownVariant, InvalidArtifact, CorruptArtifact, CannotWrite: as the methods of `Store` do.
        BadSource: the model cannot be exported.
    """
    # Imported here because `onnx` is large and serving does not need it otherwise.
    from slimseq.inference.graphs.cross_attention_cache import float_cross_attention_cache
    from slimseq.inference.graphs.export import export_onnx

    store.verify(task, variant, only="safetensors")
    versions = {"onnx": version("onnx"), GRAPHS: CONTRACT}
    with store.exporting(task, variant, FORMAT, EXPORTER, versions) as folder:
        export_onnx(store.folder(task, variant), folder, float_cross_attention_cache(task))


def is_outdated(export: Export) -> bool:
    """Whether our exporter made these graphs for another contract."""
    return export.exporter == EXPORTER and export.versions.get(GRAPHS) != CONTRACT
