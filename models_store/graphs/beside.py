"""Builds an artifact's graphs beside its safetensors, once: what opens it later finds them there."""

from importlib.metadata import version

from models_store.graphs.names import CONTRACT
from models_store.manifest import Task
from models_store.store import Export, Store

FORMAT = "onnx"
EXPORTER = "slimseq"
# The key of the graphs' contract in an export's versions.
GRAPHS = "graphs"


def ensure_beside(store: Store, task: Task, variant: str) -> None:
    """Builds `onnx/` of an artifact that has none, or one of our own that was made for another engine.

    Raises:
        SlimseqError: what `build_beside` raises, or an export's record cannot be read.
    """
    export = store.export_of(task, variant, FORMAT)
    if not store.has_format(task, variant, FORMAT) or (export is not None and is_outdated(export)):
        build_beside(store, task, variant)


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
    from models_store.graphs.export import export_onnx
    from models_store.graphs.sources import float_sources

    store.verify(task, variant, only="safetensors")
    versions = {"onnx": version("onnx"), GRAPHS: CONTRACT}
    with store.exporting(task, variant, FORMAT, EXPORTER, versions) as folder:
        export_onnx(store.folder(task, variant), folder, float_sources(task))


def is_outdated(export: Export) -> bool:
    """Whether our exporter made these graphs for another engine than there is now."""
    return export.exporter == EXPORTER and export.versions.get(GRAPHS) != CONTRACT
