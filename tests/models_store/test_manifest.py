"""Whatever a manifest holds, the store reads it or says what is wrong with it."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import FileEntry, Manifest, Task, digest_of
from slimseq.models_store.measurements import ConfidenceCalibration
from slimseq.models_store.places import embedded_store
from slimseq.models_store.store import Store
from tests.anything import altered, json_values

SOME_HASH = "0" * 64


def calibrated(points: list[tuple[float, float]], **changes: object) -> ConfidenceCalibration:
    """Makes a calibration. A point is a mean log-probability and the quality that is expected for it."""
    known: dict[str, object] = {"dataset": "dev.some", "split": "dev", "samples": 300, "calibration_error": 0.03}
    known |= {"metric": "chrf", "signature": "nrefs:1", "generation": {}, "runtime": "onnxruntime", "points": points}
    known |= {"spearman": 0.5, "spearman_interval": (0.4, 0.6), "pearson": 0.6, "pearson_interval": (0.5, 0.7)}
    return ConfidenceCalibration.model_validate(known | changes)


def test_the_digest_does_not_depend_on_the_order_of_the_files() -> None:
    first = FileEntry(path="a.json", bytes=1, sha256=SOME_HASH)
    second = FileEntry(path="onnx/b.onnx", bytes=2, sha256=SOME_HASH)

    assert digest_of([first, second]) == digest_of([second, first])
    assert digest_of([first]) != digest_of([first, second])


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "onnx/../../outside", "", "a\\b", "x/.", "a//b", "."])
def test_a_file_outside_of_the_artifact_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="not a path inside the artifact"):
        FileEntry(path=path, bytes=1, sha256=SOME_HASH)


@pytest.mark.parametrize("path", ["Größe.json", "größe.json", "Gro\u0308ße.json", "GRÖSSE.json"])
def test_a_file_that_is_listed_twice_is_refused_whatever_its_letters(embedded: Store, path: str) -> None:
    content = json.loads((embedded.folder(Task.TRANSLATION, "original") / "manifest.json").read_text())
    content["files"] += [{"path": each, "bytes": 1, "sha256": SOME_HASH} for each in ("Größe.json", path)]

    with pytest.raises(ValidationError, match="lists a file twice"):
        Manifest.model_validate(content)


def test_a_manifest_whose_digest_is_not_that_of_its_files_is_refused(embedded: Store) -> None:
    content = json.loads((embedded.folder(Task.TRANSLATION, "original") / "manifest.json").read_text())
    content["files"][0]["bytes"] += 1

    with pytest.raises(ValidationError, match="digest does not match the listed files"):
        Manifest.model_validate(content)


def test_confidence_is_linear_between_points_and_constant_beyond_them() -> None:
    calibration = calibrated([(-2.0, 0.1), (-1.0, 0.3), (-0.5, 0.3), (-0.1, 0.9)])

    means = [-9.0, -2.0, -1.5, -1.0, -0.75, -0.5, -0.3, -0.1, 0.0]

    assert [calibration.confidence(mean) for mean in means] == [0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.6, 0.9, 0.9]
    assert calibrated([(-1.0, 0.4)]).confidence(-3.0) == 0.4
    assert calibrated([(-1.0, 0.4)]).confidence(-0.1) == 0.4
    # Without rounding it would be 0.2531.
    assert calibration.confidence(-1.2345) == 0.25


@pytest.mark.parametrize(("interval", "confidence"), [((0.01, 0.2), 0.4), ((0.0, 0.2), None), ((-0.1, 0.2), None)])
def test_log_probabilities_that_may_say_nothing_give_no_confidence(
    interval: tuple[float, float], confidence: float | None
) -> None:
    assert calibrated([(-1.0, 0.4)], spearman_interval=interval).confidence(-0.5) == confidence


@pytest.mark.parametrize(
    ("points", "complaint"),
    [
        ([], "at least 1 item"),
        ([(-1.0, 0.2), (-1.0, 0.3)], "log-probabilities of the points do not rise"),
        ([(-2.0, 0.4), (-1.0, 0.3)], "expected quality of the points falls"),
        ([(-2.0, 0.4), (-1.0, 1.3)], "is not between 0 and 1"),
    ],
)
def test_points_that_make_no_map_are_refused(points: list[tuple[float, float]], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        calibrated(points)


def test_options_take_defaults_where_nothing_was_asked() -> None:
    defaults = GenerationDefaults(num_beams=4, no_repeat_ngram_size=3, prefix="summarize: ")

    options = defaults.options(num_beams=1, length_penalty=None)

    assert options.num_beams == 1
    assert options.no_repeat_ngram_size == 3
    assert options.length_penalty == 1.0


def test_an_error_is_one_line_whatever_a_key_holds() -> None:
    with pytest.raises(ValidationError) as raised:
        FileEntry.model_validate({"path": "a.json", "bytes": 1, "sha256": SOME_HASH, "\x85\u202ea\nb": 1})

    assert first_error(raised.value, "file") == "\\x85\\u202ea\\nb: is not a known field"


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
    "files": [{"path": path, "bytes": 2, "sha256": SOME_HASH} for path in PATHS],
    "digest": digest_of([FileEntry(path=path, bytes=2, sha256=SOME_HASH) for path in PATHS]),
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
    assert entry.manifest is None
    assert str(entry.error) == said
    assert "translation/small" in said
    assert "\n" not in said
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
