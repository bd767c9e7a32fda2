"""Builds an artifact's graphs beside its safetensors, once: what opens it later finds them there."""

from importlib.metadata import version

from slimseq.inference.graphs.names import CONTRACT
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Export, Store

FORMAT = "onnx"
EXPORTER = "slimseq"
# The key of the graphs' contract in an export's versions.
GRAPHS = "graphs"


def ensure_beside(store: Store, task: Task, variant: str) -> None:
    """Builds `onnx/` of an artifact that has none, or one of our own that was made for another engine.

    Raises:
        SlimseqError: what `build_beside` raises, or an export's record cannot be read.
    """
    if is_to_be_built(store, store.manifest(task, variant)):
        build_beside(store, task, variant)


def is_to_be_built(store: Store, manifest: Manifest) -> bool:
    """Whether an artifact has no graphs, or some of our own that were made for another engine.

    Raises:
        InvalidArtifact: an export's record cannot be read.
    """
    export = store.export_of(manifest.task, manifest.variant, FORMAT)
    return is_outdated(export) if export is not None else not manifest.has_format(FORMAT)


def build_beside(store: Store, task: Task, variant: str) -> None:
    """Writes `onnx/` of an artifact that has safetensors, fp32.

    Args:
        store: where the artifact is.
        task: its task.
        variant: its name.

    Raises:
        UnknownVariant, InvalidArtifact, CorruptArtifact: as `Store.verify` does.
        CannotWrite: the artifact's folder may not be written.
        BadSource: the model cannot be exported.
    """
    # The graph library is large, and only needed here.
    from slimseq.inference.graphs.cross_attention_cache import float_cross_attention_cache
    from slimseq.inference.graphs.export import export_onnx

    store.verify(task, variant, only="safetensors")
    versions = {"onnx": version("onnx"), GRAPHS: CONTRACT}
    with store.exporting(task, variant, FORMAT, EXPORTER, versions) as folder:
        export_onnx(store.folder(task, variant), folder, float_cross_attention_cache(task))


def is_outdated(export: Export) -> bool:
    """Whether our exporter made these graphs for another engine than there is now."""
    return export.exporter == EXPORTER and export.versions.get(GRAPHS) != CONTRACT
