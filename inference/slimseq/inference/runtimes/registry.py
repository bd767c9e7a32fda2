"""The registry of runtimes: the format that each opens, the library that it needs, and whether it can open an artifact.

A new runtime is one module with `open_runtime` and one entry in `RUNTIMES`.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from slimseq.inference.graphs.on_demand import ensure_exported, needs_export
from slimseq.inference.runtime import RuntimeOpener
from slimseq.models_store.errors import BadSignature, CorruptArtifact, RuntimeUnavailable, SlimseqError, Unprepared
from slimseq.models_store.manifest import DERIVED_FORMATS, Manifest, Task, format_of
from slimseq.models_store.store import Store

# What an error advises where an export lacks a signature.
PREPARE_AND_SIGN = "run `slimseq prepare`, then `slimseq sign`, where the private key is"

Builder = Callable[[Store, Task, str], None]
Condition = Callable[[Store, Manifest], bool]


@dataclass(frozen=True)
class RuntimeKind:
    """One runtime.

    Attributes:
        name: as commands, settings and answers have it.
        format: the format that it opens.
        module: the module whose `open_runtime` opens an artifact.
        library: the package that must be installed.
        built_from: the format that `format` can be built from; None if it must be in the artifact.
        builder: builds `format` when an artifact is opened.
        needs_build: says whether `builder` has to.
        needs_torch: whether a serving install cannot use the runtime. Its threads are then the whole process's.
    """

    name: str
    format: str
    module: str
    library: str
    built_from: str | None = None
    builder: Builder | None = None
    needs_build: Condition | None = None
    needs_torch: bool = False

    @property
    def is_installed(self) -> bool:
        return _is_installed(self.library)

    def has_files(self, store: Store, manifest: Manifest) -> bool:
        """Whether an artifact has the runtime's format, or the format that it is built from."""
        if manifest.has_format(self.format) or store.has_export(manifest.task, manifest.variant, self.format):
            return True
        return self.built_from is not None and manifest.has_format(self.built_from)

    def obstacle(self, store: Store, manifest: Manifest) -> SlimseqError | None:
        """Returns the error that would keep the runtime from opening an artifact with its files, or None.

        It looks for missing files, for exports without a signature that the store asks for, and for a read-only folder
        where files must be built first.
        """
        task, variant = manifest.task, manifest.variant
        artifact = f"{task}/{variant}"
        folder = store.folder(task, variant)
        try:
            if self.format in DERIVED_FORMATS:
                store.export_of(task, variant, self.format)
            needs_build = self.needs_build is not None and self.needs_build(store, manifest)
        except SlimseqError as error:
            return error
        if needs_build and store.trusted is not None:
            # What this process builds has no signature.
            return BadSignature(f"{artifact}: its {self.format} files are not built; {PREPARE_AND_SIGN}")
        if needs_build and not _is_writable(folder):
            return Unprepared(artifact, f"its {self.format} files are not built and its folder is read-only")
        read_format = self.built_from if needs_build and self.built_from else self.format
        # Files of no format, such as the tokenizer's, are needed too.
        needed = (file.path for file in manifest.files if format_of(file.path) in (read_format, None))
        missing = next((path for path in needed if not (folder / path).is_file()), None)
        if missing is None:
            return None
        # Quantized files can be built again within seconds, and need not be stored.
        is_quantized = any(step.technique == "quantize" for step in manifest.lineage)
        if self.format in DERIVED_FORMATS and is_quantized and not (folder / self.format).exists():
            return Unprepared(artifact, f"its {self.format} files are not built")
        return CorruptArtifact(artifact, missing, "is missing")

    def opener(self) -> RuntimeOpener:
        """Imports the runtime, or raises RuntimeUnavailable if its library is not installed."""
        if not self.is_installed:
            raise RuntimeUnavailable(f"the {self.name} runtime needs {self.library}, which is not installed here")
        return cast(RuntimeOpener, importlib.import_module(self.module).open_runtime)


# In order of preference: the first one whose format and library are present is the default.
RUNTIMES = {
    kind.name: kind
    for kind in (
        RuntimeKind(
            name="onnxruntime",
            format="onnx",
            module="slimseq.inference.runtimes.onnxruntime",
            library="onnxruntime",
            built_from="safetensors",
            builder=ensure_exported,
            needs_build=needs_export,
        ),
        RuntimeKind("torch", "safetensors", "slimseq.inference.runtimes.torch", "transformers", needs_torch=True),
        RuntimeKind("ctranslate2", "ctranslate2", "slimseq.inference.runtimes.ctranslate2", "ctranslate2"),
    )
}
# The runtimes of a serving install, by the derived format that each opens.
SERVING_RUNTIMES = {kind.format: kind for kind in RUNTIMES.values() if not kind.needs_torch}


def runtime_named(name: str) -> RuntimeKind:
    if name not in RUNTIMES:
        raise RuntimeUnavailable(f"unknown runtime {name!r}; known are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def _is_writable(folder: Path) -> bool:
    """Whether this process may make files in a folder, judged by its effective user where the system can do it."""
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


@functools.cache
def _is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
