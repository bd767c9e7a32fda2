"""The formats of an artifact's weights: the files that each needs, and the format that a file belongs to.

A derived format has a folder with its name. `slimseq.inference.runtimes.registry` says which runtime opens it.
"""

from typing import Final

SAFETENSORS_FORMAT: Final = "safetensors"
SAFETENSORS: Final = ".safetensors"
# The files that each derived format needs in its folder.
DERIVED_FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "onnx": ("encoder.onnx", "decoder.onnx"),
    "ctranslate2": ("model.bin", "shared_vocabulary.json", "config.json"),
}
FORMATS: Final = (SAFETENSORS_FORMAT, *DERIVED_FORMATS)
# The files that every format needs in addition to its own.
COMMON_FILES: Final = ("config.json", "tokenizer.json")


def format_of(path: str) -> str | None:
    """Returns the format that a file belongs to, or None for a file that every format needs."""
    top = path.split("/", 1)[0]
    if top in DERIVED_FORMATS:
        return top
    return SAFETENSORS_FORMAT if path.endswith(SAFETENSORS) else None


def missing_files(name: str, paths: set[str]) -> list[str]:
    """Returns the files of a format that an artifact lacks. For safetensors, one file of any name suffices.

    Args:
        name: the format. An unknown one needs no files.
        paths: the artifact's files, relative to its folder.
    """
    if name not in FORMATS:
        return []
    needed = [*COMMON_FILES, *(f"{name}/{file}" for file in DERIVED_FORMATS.get(name, ()))]
    missing = [path for path in needed if path not in paths]
    if name == SAFETENSORS_FORMAT and not any(path.endswith(SAFETENSORS) for path in paths):
        missing.append(f"a {SAFETENSORS} file")
    return missing
