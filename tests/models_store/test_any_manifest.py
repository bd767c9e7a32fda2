"""Whatever a manifest holds, the store reads it or says what is wrong with it."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.manifest import FileEntry, Manifest, Task, digest_of
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.anything import altered, json_values

TASK = Task.TRANSLATION
PATHS = ("config.json", "tokenizer.json", "model.safetensors")
VALID: dict[str, Any] = {
    "schema_version": 1,
    "task": "translation",
    "variant": "small",
    "family": "t5",
    "languages": ["en", "de"],
    "license": "",
    "training_data": "",
    "lineage": [{"technique": "train", "parameters": {"steps": 3}, "seconds": 1.5}],
    "size": {"parameters": 10, "nonzero_parameters": 9, "bytes_by_format": {"safetensors": 20}},
    "files": [{"path": path, "bytes": 2, "sha256": "0" * 64} for path in PATHS],
    "digest": digest_of([FileEntry(path=path, bytes=2, sha256="0" * 64) for path in PATHS]),
    "generation": {"num_beams": 2, "prefix": "translate: "},
    "gate": {"status": "passed", "checks": [{"name": "a", "value": 1.0, "limit": 0.9, "is_passed": True}]},
}


def committed(name: str) -> dict[str, Any]:
    """Returns the manifest of an embedded model with few of its measurements, which are all of the same form."""
    content: dict[str, Any] = json.loads((embedded_store() / name / "manifest.json").read_text())
    return content | {"quality": content["quality"][:2], "performance": content["performance"][:1]}


COMMITTED = [committed(name) for name in ("translation/distilled", "summarization/pruned")]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / TASK / "small"
        folder.mkdir(parents=True)
        yield folder


def is_read_or_refused(folder: Path, content: bytes) -> Manifest | None:
    """Reads a manifest twice as the service does; a refusal is one line that names the file or the artifact."""
    (folder / "manifest.json").write_bytes(content)
    store = Store(folder.parents[1])
    [entry] = store.scan()
    try:
        read = store.manifest(TASK, "small")
    except InvalidArtifact as error:
        said = str(error)
    else:
        assert entry.manifest == read
        assert Manifest.model_validate_json(read.model_dump_json()) == read
        return read
    assert entry.manifest is None and str(entry.error) == said
    assert "translation/small" in said and "\n" not in said
    return None


def test_the_content_that_is_altered_is_valid(folder: Path) -> None:
    assert is_read_or_refused(folder, json.dumps(VALID).encode()) is not None


@given(content=json_values)
def test_any_json_is_a_manifest_or_a_clear_error(folder: Path, content: object) -> None:
    is_read_or_refused(folder, json.dumps(content).encode())


@given(content=st.sampled_from([VALID, *COMMITTED]).flatmap(altered))
@settings(max_examples=350)
def test_a_manifest_with_any_other_value_is_read_or_a_clear_error(folder: Path, content: object) -> None:
    is_read_or_refused(folder, json.dumps(content).encode())


@given(content=st.binary(max_size=60) | st.integers(0, 100_000).map(lambda depth: b"[" * depth))
def test_any_bytes_are_a_clear_error(folder: Path, content: bytes) -> None:
    assert is_read_or_refused(folder, content) is None
