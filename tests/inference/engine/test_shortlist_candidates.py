"""Inputs with shortlists get the same ids and the same scores, to the last bit, whatever else is in the batch."""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimseq.compression.context import Context
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.inference.engine.shortlist_candidates import _best
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.models.shortlist import SHORTLIST, Shortlist, read_shortlist
from slimseq.inference.runtimes.onnxruntime import OnnxRuntime
from slimseq.models_store.errors import InvalidArtifact
from slimseq.models_store.generation import UnrestrictedOptions
from slimseq.models_store.manifest import Task
from tests.compression.tiny import SENTENCES, tiny_file, tiny_import
from tests.inference.engine.company import exact_output, in_company
from tests.marian_students import tiny_folder

TASK = Task.TRANSLATION
ROWS = 30


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Context:
    folder = tmp_path_factory.mktemp("student")
    source = tiny_folder(folder / "source", is_int8=True, has_shortlist=True)
    context = tiny_import(folder, source, max_new_tokens=24)
    quantize(context, TASK, "original", options=QuantizeOptions(reduce_range=False))
    blocks = QuantizeOptions("int4-blocks", calibration_samples=4)
    quantize(context, TASK, "original", "compact", blocks, DataFiles([tiny_file(folder)]))
    return context


@pytest.fixture(params=["original", "quantized", "compact"])
def generator(request: pytest.FixtureRequest, student: Context) -> Iterator[TextGenerator]:
    with open_generator(student.store, TASK, request.param, "onnxruntime", threads=1) as generator:
        yield generator


@pytest.mark.parametrize("beams", [1, 4])
def test_company_changes_no_id_and_no_bit_of_a_score(generator: TextGenerator, beams: int) -> None:
    runtime = generator.runtime
    assert isinstance(runtime, OnnxRuntime)
    assert runtime.new_candidates is not None
    # Only int8 decoders multiply with columns of their candidates alone.
    assert (runtime.new_candidates(1).capacity == 0) == (generator.manifest.variant != "original")
    rows = []
    for place in range(ROWS):
        one_to_three = 1 + place % 3
        sentences = [text for text, _ in SENTENCES[place : place + one_to_three]]
        rows.append(generator.encode(" ".join(sentences)).ids)
    settings: list[dict[str, Any]] = [
        {},
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.3},
        {"min_new_tokens": 9, "max_new_tokens": 9},
    ]
    options_of_settings = [generator.manifest.generation.options(num_beams=beams, **each) for each in settings]
    options = [options_of_settings[place % len(settings)] for place in range(ROWS)]
    # Every fifth row may have any token.
    options[::5] = [UnrestrictedOptions(**each.model_dump()) for each in options[::5]]
    alone = [runtime.generate([row], each)[0] for row, each in zip(rows, options, strict=True)]

    together = in_company(runtime.engine(), rows, options)

    assert list(map(exact_output, together)) == list(map(exact_output, alone))
    assert len({tuple(each.ids) for each in alone}) > ROWS / 2, "outputs hardly differ, so the test shows little"


@pytest.mark.parametrize("beams", [1, 4])
def test_without_a_restriction_a_row_chooses_among_all_tokens(generator: TextGenerator, beams: int) -> None:
    runtime, rows = generator.runtime, [generator.encode(text).ids for text, _ in SENTENCES[:8]]
    assert isinstance(runtime, OnnxRuntime)
    options = generator.manifest.generation.options(num_beams=beams)

    found = runtime.generate(rows, UnrestrictedOptions(**options.model_dump()))

    restricted = runtime.generate(rows, options)
    runtime.new_candidates = None
    assert [each.ids for each in found] == [each.ids for each in runtime.generate(rows, options)]
    assert [each.ids for each in found] != [each.ids for each in restricted]


def test_outputs_are_scored_as_they_were_generated_and_tokens_beyond_the_shortlist_too(
    generator: TextGenerator,
) -> None:
    rows = [generator.encode(text).ids for text, _ in SENTENCES[:8]]
    options = generator.manifest.generation.options(num_beams=1)
    outputs = generator.runtime.generate(rows, options)

    scores = generator.runtime.score(rows, [each.ids for each in outputs])
    [others] = generator.runtime.score(rows[:1], [list(range(100, 120))])

    means = [min(sum(own) / len(own), 0.0) for own in scores]
    assert means == pytest.approx([each.mean_log_probability for each in outputs], abs=1e-12)
    assert np.isfinite(others).all()


def test_of_equal_logits_the_lowest_token_is_best() -> None:
    values = np.array([[1, 3, -np.inf, 3, 3, 0], [-1, -2, -1, -3, -1, -np.inf]], dtype=np.float32)

    assert _best(values, 2).tolist() == [[1, 3], [0, 2]]
    assert _best(values, 4).tolist() == [[1, 3, 4, 0], [0, 2, 4, 1]]


def test_a_shortlist_follows_a_vocabulary_that_is_cut(tmp_path: Path) -> None:
    whole = Shortlist(3, np.array([0, 2, 2, 5, 6, 6]), np.array([4, 1, 0, 3, 4, 2], dtype=np.uint32))

    cut = whole.restricted([0, 2, 4])

    assert (cut.first, cut.offsets.tolist(), cut.ids.tolist()) == (2, [0, 1, 3, 3], [2, 0, 2])
    assert replace(whole, first=0).tokens([0, 3], 40, [39]).tolist() == [*range(34), 39]
    cut.write(tmp_path)
    read = read_shortlist(tmp_path, 3, 3)
    assert read is not None
    assert (read.ids == cut.ids).all()
    assert (read.offsets == cut.offsets).all()


def archive(array: bytes, flags: int = 0) -> bytes:
    """Returns an archive of one array's bytes under each name, with flags in the entries of its directory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in ("first.npy", "counts.npy", "ids.npy"):
            file.writestr(name, array)
    entries = re.compile(rb"(PK\x01\x02.{4}).", re.DOTALL)
    return entries.sub(lambda match: match[1] + bytes([flags]), content.getvalue())


def shortlist_file(**changed: Any) -> bytes:
    """Returns a file of a shortlist, some of whose arrays are changed."""
    content = io.BytesIO()
    arrays = {"counts": np.array([1, 0, 0], dtype=np.uint32), "ids": np.zeros(1, dtype=np.uint16)}
    np.savez_compressed(content, **{"first": np.int64(1), **arrays, **changed})
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"PK\3\4" * 9, "cannot be read"),
        (archive(b"no array"), "cannot be read"),
        (archive(b"", flags=1), "cannot be read: File 'first.npy' is encrypted"),
        (archive(b"\x93NUMPY\1\0\4\0((((" + bytes(9)), "cannot be read"),
        (shortlist_file(first=np.float32(1)), "cannot be read: its arrays are of other kinds"),
        (shortlist_file(ids=np.array([-1])), "cannot be read: its arrays are of other kinds"),
        (
            shortlist_file(ids=np.zeros(2**26, dtype=np.uint16)),
            "cannot be read: its arrays have more than 134,217,728 bytes",
        ),
        (None, "is no shortlist of this model: it has 3"),
    ],
)
def test_a_damaged_file_is_named_when_it_is_opened(tmp_path: Path, content: bytes | None, reason: str) -> None:
    Shortlist(1, np.array([0, 1, 1, 1]), np.array([0], dtype=np.uint16)).write(tmp_path)
    if content is not None:
        (tmp_path / SHORTLIST).write_bytes(content)

    with pytest.raises(InvalidArtifact, match=f"{SHORTLIST} {reason}"):
        read_shortlist(tmp_path, 4, 4)
