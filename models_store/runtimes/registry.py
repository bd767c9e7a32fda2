"""Which runtimes there are, what format each opens, and which of them can run here."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from models_store.errors import RuntimeUnavailable
from models_store.graphs.beside import ensure_beside
from models_store.manifest import Task
from models_store.runtimes.protocol import RuntimeOpener
from models_store.store import Store

Builder = Callable[[Store, Task, str], None]


@dataclass(frozen=True)
class RuntimeKind:
    """One runtime: the format it opens, the module that has its `open_runtime`, and the library it needs.

    `built_from` is another format that its own can be made of when an artifact is opened, `builder` what makes it where
    it is not there.
    """

    name: str
    format: str
    module: str
    library: str
    built_from: str | None = None
    builder: Builder | None = None

    @property
    def is_installed(self) -> bool:
        """Whether the library that the runtime needs is there."""
        return importlib.util.find_spec(self.library) is not None

    def has_files(self, store: Store, task: Task, variant: str) -> bool:
        """Whether an artifact has the runtime's format, or what it is built from."""
        if store.has_format(task, variant, self.format):
            return True
        return self.built_from is not None and store.manifest(task, variant).has_format(self.built_from)

    def opener(self) -> RuntimeOpener:
        """Imports the runtime.

        Raises:
            RuntimeUnavailable: its library is not installed.
        """
        if not self.is_installed:
            raise RuntimeUnavailable(f"the {self.name} runtime needs {self.library}, which is not installed here")
        return cast(RuntimeOpener, importlib.import_module(self.module).open_runtime)


# In order of preference: the first whose format and library are there is the default.
RUNTIMES = {
    kind.name: kind
    for kind in (
        RuntimeKind(
            "onnxruntime", "onnx", "models_store.runtimes.onnxruntime", "onnxruntime", "safetensors", ensure_beside
        ),
        RuntimeKind("torch", "safetensors", "models_store.runtimes.torch", "transformers"),
        RuntimeKind("torch-bf16", "safetensors", "models_store.runtimes.torch_bf16", "transformers"),
        RuntimeKind("ctranslate2", "ctranslate2", "models_store.runtimes.ctranslate2", "ctranslate2"),
    )
}


def runtime_named(name: str) -> RuntimeKind:
    """Returns the runtime of that name.

    Raises:
        RuntimeUnavailable: there is none.
    """
    if name not in RUNTIMES:
        raise RuntimeUnavailable(f"there is no runtime {name!r}; there are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]
