"""A shortlist has the tokens that sources are translated to, and outputs choose among them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.shortlist import ShortlistOptions, learn_shortlist, shortlist
from slimseq.compression.technique import Job
from slimseq.compression.train.data.pairs import DataFiles, TokenPair
from slimseq.compression.train.options import SequenceLevel
from slimseq.inference.generator import open_generator
from slimseq.models_store.manifest import Task
from tests.compression.test_families import imported
from tests.compression.tiny import SENTENCES, VOCABULARY, tiny_file
from tests.families import Family


def outputs(context: Context, variant: str) -> list[list[int]]:
    with open_generator(context.store, Task.TRANSLATION, variant, "onnxruntime", threads=1) as generator:
        rows = [generator.encode(source).ids for source, _ in SENTENCES[:8]]
        return [each.ids for each in generator.runtime.generate(rows, generator.manifest.generation.options())]


def test_words_are_aligned_with_their_translations_whatever_occurs_beside_them() -> None:
    draw = np.random.default_rng(0)
    # Source token s is translated to 50 + s and 90 + s, in any order. Target token 3 is everywhere, 4 nearly.
    pairs = [
        TokenPair([*source, 1], [*draw.permutation([*source + 50, *source + 90]).tolist(), 3, *[4][: place % 9]])
        for place, source in enumerate(draw.integers(10, 50, (3000, 6)))
    ]

    learned, used = learn_shortlist(pairs, (60, 150), 1, ShortlistOptions(candidates=2, frequent=2))

    found = [sorted(part.tolist()) for part in np.split(learned.ids, learned.offsets[1:-1])]
    wanted = [[50 + token, 90 + token] if 10 <= token < 50 else [] for token in range(60)]
    assert found == [[], [3, 4], *wanted[2:]] and used == len(pairs)


@pytest.mark.parametrize("family", list(Family))
def test_outputs_choose_among_the_candidates_of_their_sources(family: Family, tmp_path: Path) -> None:
    context, data = imported(family, tmp_path), DataFiles([tiny_file(tmp_path)])
    quantize(context, Task.TRANSLATION, "original")
    for parent, name, options in (
        ("quantized", "all", ShortlistOptions(frequent=VOCABULARY)),
        ("quantized", "few", ShortlistOptions(3, 5)),
        ("original", "learned", ShortlistOptions(3, 5)),
    ):
        shortlist(Job(context, Task.TRANSLATION, parent, name, data), options)
    quantize(context, Task.TRANSLATION, "learned", "later")

    context.store.verify(Task.TRANSLATION, "few")
    assert (context.store.folder(Task.TRANSLATION, "few") / "onnx" / "columns.onnx").exists()
    assert outputs(context, "all") == outputs(context, "quantized") != outputs(context, "few")
    assert outputs(context, "few") == outputs(context, "later")


def test_pairs_are_drawn_and_the_model_itself_may_write_their_targets(tmp_path: Path) -> None:
    context = imported(Family.BART, tmp_path)
    job = Job(context, Task.TRANSLATION, "original", "written", DataFiles([tiny_file(tmp_path)]))

    written = shortlist(job, ShortlistOptions(samples=4)).manifest
    own = ShortlistOptions(samples=4, sequence=SequenceLevel("replace", sequence_beams=1))
    generated = shortlist(replace(job, name="generated"), own).manifest

    assert [each.lineage[-1].parameters["pairs"] for each in (written, generated)] == [4, 4]
    assert written.digest != generated.digest


def test_options_and_models_without_a_shortlist_are_refused_in_one_line(context: Context, tmp_path: Path) -> None:
    quantize(context, Task.TRANSLATION, "original", "compact", QuantizeOptions(scheme="ctranslate2-int8"))

    for variant, options, words in (
        ("original", ShortlistOptions(candidates=0), "candidates is 0; it is at least 1"),
        ("compact", ShortlistOptions(), "is for CTranslate2, which has no shortlists"),
    ):
        with pytest.raises(BadParameters, match=words):
            shortlist(Job(context, Task.TRANSLATION, variant, "refused", DataFiles([tiny_file(tmp_path)])), options)
