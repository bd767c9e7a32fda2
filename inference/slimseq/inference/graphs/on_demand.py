"""Builds the ONNX graphs of an artifact with safetensors, once, into the artifact's folder `onnx/`.

The graphs have a version, `CONTRACT`: the inputs and outputs on which the graph builder and the engine agree. The
registry of runtimes calls this module when an artifact is opened for the first time, or after an update of Slimseq that
changed the contract. `slimseq.inference.graphs.export` writes the graphs.
"""

from importlib.metadata import version

from slimseq.inference.graphs.tensor_names import CONTRACT
from slimseq.models_store.files import Export
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

FORMAT = "onnx"
EXPORTER = "slimseq"
# An export records the versions of what made it. `CONTRACT` is recorded under this key.
GRAPHS = "graphs"


def ensure_exported(store: Store, task: Task, variant: str) -> None:
    """Builds the graphs of an artifact if they are missing or were made for another version of the contract."""
    if needs_export(store, store.manifest(task, variant)):
        export_artifact(store, task, variant)


def needs_export(store: Store, manifest: Manifest) -> bool:
    """Whether an artifact has no graphs, or has graphs of this exporter for another version of the contract."""
    export = store.export_of(manifest.task, manifest.variant, FORMAT)
    if export is None:
        # Some artifacts have graphs as files of their own, and no export.
        return not manifest.has_format(FORMAT)
    return is_outdated(export)


def export_artifact(store: Store, task: Task, variant: str) -> None:
    """Writes the graphs of an artifact with safetensors, with weights in fp32.

    Raises:
        UnknownVariant, InvalidArtifact, CorruptArtifact, CannotWrite: the store cannot be read or written.
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
    """Whether this exporter made the graphs for another version of the contract. Other exporters have no contract."""
    return export.exporter == EXPORTER and export.versions.get(GRAPHS) != CONTRACT
