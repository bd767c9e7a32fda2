import json

import pytest
from pydantic import ValidationError

from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import FileEntry, Manifest, Task, digest_of
from slimseq.models_store.measurements import ConfidenceCalibration
from slimseq.models_store.record import first_error
from slimseq.models_store.store import Store

SOME_HASH = "0" * 64


def calibrated(points: list[tuple[float, float]], **changes: object) -> ConfidenceCalibration:
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

    assert [calibration.of(mean) for mean in means] == [0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.6, 0.9, 0.9]
    assert calibrated([(-1.0, 0.4)]).of(-3.0) == calibrated([(-1.0, 0.4)]).of(-0.1) == 0.4
    assert calibration.of(-1.2345) == 0.25, "it is rounded"


@pytest.mark.parametrize(("interval", "confidence"), [((0.01, 0.2), 0.4), ((0.0, 0.2), None), ((-0.1, 0.2), None)])
def test_log_probabilities_that_may_say_nothing_give_no_confidence(
    interval: tuple[float, float], confidence: float | None
) -> None:
    assert calibrated([(-1.0, 0.4)], spearman_interval=interval).of(-0.5) == confidence


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
