import json

import pytest
from pydantic import ValidationError

from slimseq.models_store.manifest import FileEntry, GenerationDefaults, Manifest, Task, digest_of, first_error
from slimseq.models_store.store import Store

SOME_HASH = "0" * 64


def test_the_digest_does_not_depend_on_the_order_of_the_files() -> None:
    first = FileEntry(path="a.json", bytes=1, sha256=SOME_HASH)
    second = FileEntry(path="onnx/b.onnx", bytes=2, sha256=SOME_HASH)

    assert digest_of([first, second]) == digest_of([second, first])
    assert digest_of([first]) != digest_of([first, second])


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "onnx/../../outside", "", "a\\b"])
def test_a_file_outside_of_the_artifact_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="not a path inside the artifact"):
        FileEntry(path=path, bytes=1, sha256=SOME_HASH)


def test_a_manifest_whose_digest_is_not_that_of_its_files_is_refused(embedded: Store) -> None:
    content = json.loads((embedded.folder(Task.TRANSLATION, "original") / "manifest.json").read_text())
    content["files"][0]["bytes"] += 1

    with pytest.raises(ValidationError, match="digest does not match the listed files"):
        Manifest.model_validate(content)


def test_a_manifest_survives_its_json(embedded: Store) -> None:
    manifest = embedded.manifest(Task.SUMMARIZATION, "original")

    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_options_take_defaults_where_nothing_was_asked() -> None:
    defaults = GenerationDefaults(num_beams=4, no_repeat_ngram_size=3, prefix="summarize: ")

    options = defaults.options(num_beams=1, length_penalty=None)

    assert options.num_beams == 1
    assert options.no_repeat_ngram_size == 3
    assert options.length_penalty == 1.0


def test_a_minimum_above_the_maximum_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match=r"min_new_tokens \(20\) is above max_new_tokens \(10\)"):
        GenerationDefaults().options(min_new_tokens=20, max_new_tokens=10)


def test_an_error_is_one_line_whatever_a_key_holds() -> None:
    with pytest.raises(ValidationError) as raised:
        FileEntry.model_validate({"path": "a.json", "bytes": 1, "sha256": SOME_HASH, "\x85\u202ea\nb": 1})

    assert first_error(raised.value, "file") == "\\x85\\u202ea\\nb: is not a known field"
