"""Copies an artifact for the code of another commit: without fields that it does not know, and without derived files.

Run by path, with that code on `PYTHONPATH`: MODULE ARTIFACT COPY, where MODULE has that commit's `Manifest`.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path

from pydantic import ValidationError

if __name__ == "__main__":
    module, artifact, copy = sys.argv[1:]
    shutil.copytree(artifact, copy, ignore=shutil.ignore_patterns("onnx", "ctranslate2"))
    path = Path(copy, "manifest.json")
    manifest, is_known = json.loads(path.read_text(encoding="utf-8")), False
    while not is_known:
        try:
            importlib.import_module(module).Manifest.model_validate(manifest)
            is_known = True
        except ValidationError as error:
            unknown = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
            if not unknown:
                sys.exit(str(error))
            for *folders, name in unknown:
                at = manifest
                for each in folders:
                    at = at[each]
                del at[name]
    path.write_text(json.dumps(manifest), encoding="utf-8")
