"""Copies an artifact for the code of another commit: without fields that it does not know, and without derived files.

Run by path, with that code on `PYTHONPATH`: MODULE ARTIFACT COPY, where MODULE has that commit's `Manifest`.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError


def remove_unknown_fields(manifest: Any, module: str) -> None:
    """Removes fields of a manifest until the `Manifest` of a module accepts it."""
    while True:
        try:
            importlib.import_module(module).Manifest.model_validate(manifest)
            return
        except ValidationError as error:
            unknown = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
            if not unknown:
                sys.exit(str(error))
        # The place of a field: the keys and list positions that lead to its object, and its name.
        for *place, name in unknown:
            owner = manifest
            for key in place:
                owner = owner[key]
            del owner[name]


if __name__ == "__main__":
    module, artifact, copy = sys.argv[1:]
    shutil.copytree(artifact, copy, ignore=shutil.ignore_patterns("onnx", "ctranslate2"))
    path = Path(copy, "manifest.json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    remove_unknown_fields(manifest, module)
    path.write_text(json.dumps(manifest), encoding="utf-8")
