"""Manifests of artifacts whose files are empty, written into stores of a test's own."""

import hashlib
from pathlib import Path
from typing import Any

from slimseq.models_store.files import write_manifest
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import FileEntry, Manifest, Size, Step, Task, digest_of
from slimseq.models_store.measurements import QualityScore
from tests import measured


def manifest(
    task: Task = Task.TRANSLATION, variant: str = "original", technique: str = "import", **more: Any
) -> Manifest:
    paths = ("config.json", "tokenizer.json", "onnx/encoder.onnx", "onnx/decoder.onnx")
    sha256 = hashlib.sha256(variant.encode()).hexdigest()
    files = [FileEntry(path=path, bytes=2, sha256=sha256) for path in paths]
    fields: dict[str, Any] = {"family": "bart", "languages": ["en", "de"], "license": "Apache-2.0", "files": files}
    fields |= {"training_data": "none", "lineage": [Step(technique=technique)], "digest": digest_of(files)}
    fields["size"] = Size(parameters=1, nonzero_parameters=1, bytes_by_format={"onnx": 10})
    return Manifest(task=task, variant=variant, **({"generation": GenerationDefaults()} | fields | more))


def variant_of(parent: Manifest, variant: str, technique: str = "prune", **more: Any) -> Manifest:
    """A variant that one technique made of another artifact."""
    lineage = [*parent.lineage, Step(technique=technique, parent=parent.digest)]
    return manifest(parent.task, variant, lineage=lineage, **more)


def score(retention: float | None, **more: Any) -> QualityScore:
    """A score of which only the retention, and what is given, means anything."""
    interval = None if retention is None else (retention - 0.01, retention + 0.01)
    known = {"retention": retention, "retention_interval": interval, "samples": 10, "measured_at": ""}
    return measured.score(20.0, **(known | more))


def put(root: Path, *manifests: Manifest) -> Path:
    for each in manifests:
        folder = root / each.task.value / each.variant
        for file in each.files:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.path).touch()
        write_manifest(folder, each)
    return root
