"""A shortlist has the tokens that sources are translated to, and outputs choose among them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.shortlist import ParallelData, ShortlistOptions, learn_shortlist, shortlist
from slimseq.compression.technique import Job
from slimseq.compression.train.data.pairs import TokenPair
from slimseq.compression.train.options import SequenceLevel
from slimseq.inference.generator import open_generator
from slimseq.inference.models.shortlist import read_shortlist
from slimseq.models_store.generation import GenerationDefaults
from slimseq.models_store.manifest import Manifest, Task
from tests.compression.tiny import SENTENCES, VOCABULARY, tiny_artifact, tiny_context, tiny_file, tiny_store
from tests.families import Family
from tests.measured import amend

TASK = Task.TRANSLATION
FEW, ALL = ShortlistOptions(candidates=3, frequent=5), ShortlistOptions(frequent=VOCABULARY)
END = 1


def shortlisted(context: Context, variant: str, name: str, options: ShortlistOptions, *files: str) -> Manifest:
    job = Job(context, TASK, variant, name, ParallelData(files, dev=files))
    return shortlist(job, options).manifest


def outputs(context: Context, variant: str) -> list[list[int]]:
    with open_generator(context.store, TASK, variant, "onnxruntime", threads=1) as generator:
        rows = [generator.encode(source).ids for source, _ in SENTENCES[:8]]
        options = generator.manifest.generation.options(num_beams=2, max_new_tokens=16)
        return [each.ids for each in generator.runtime.generate(rows, options)]


def test_words_are_aligned_with_their_translations_whatever_occurs_beside_them() -> None:
    draw = np.random.default_rng(0)
    # Source token s is translated to 50 + s and 90 + s, in any order; target token 3 is everywhere, 4 nearly.
    pairs = [
        TokenPair([*source, END], [*draw.permutation([*source + 50, *source + 90]).tolist(), 3, *[4][: place % 9]])
        for place, source in enumerate(draw.integers(10, 50, (9000, 6)))
    ]

    learned, used = learn_shortlist(pairs, (60, 150), END, ShortlistOptions(candidates=2, frequent=2))

    found = [learned.ids[start:end].tolist() for start, end in zip(learned.offsets, learned.offsets[1:], strict=False)]
    assert used == len(pairs) and learned.problem(60, 150) is None
    assert found[END] == [3, 4]
    assert [sorted(found[token]) for token in range(10, 50)] == [[50 + token, 90 + token] for token in range(10, 50)]
    assert not any(found[token] for token in (0, *range(2, 10), *range(50, 60)))


@pytest.mark.parametrize("family", list(Family))
def test_int8_outputs_choose_among_candidates_alone(family: Family, tmp_path: Path) -> None:
    context, data = tiny_store(tmp_path, family), tiny_file(tmp_path)
    quantize(context, TASK, "original")

    manifest = shortlisted(context, "quantized", "few", FEW, data)
    shortlisted(context, "quantized", "all", ALL, data)
    shortlisted(context, "original", "learned", FEW, data)
    quantize(context, TASK, "learned", "later")

    folder = context.store.folder(TASK, "few")
    context.store.verify(TASK, "few")
    assert {"shortlist.npz", "onnx/columns.onnx"} <= {file.path for file in manifest.files}
    last = manifest.lineage[-1].parameters
    assert last["pairs"] == len(SENTENCES) and 0 < last["dev_tokens"] < 1 and last["dev_candidates"] < VOCABULARY
    assert outputs(context, "all") == outputs(context, "quantized")
    assert outputs(context, "few") == outputs(context, "later") != outputs(context, "quantized")
    learned = read_shortlist(folder, None, VOCABULARY)
    assert learned is not None
    with open_generator(context.store, TASK, "few", "onnxruntime", threads=1) as generator:
        for (source, _), ids in zip(SENTENCES, outputs(context, "few"), strict=False):
            encoded = generator.encode(source).ids
            assert set(ids) <= set(learned.tokens(encoded, VOCABULARY, encoded).tolist())


def test_a_shortlist_is_learned_from_the_outputs_of_the_model_itself(context: Context, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"source": source, "target": "a"}) + "\n" for source, _ in SENTENCES[:8]))
    written, own = ShortlistOptions(frequent=1), SequenceLevel("replace", sequence_beams=1)

    manifest = shortlisted(context, "original", "own", replace(written, samples=6, sequence=own), str(data))
    shortlisted(context, "original", "written", written, str(data))

    few, many = (read_shortlist(context.store.folder(TASK, name), None, VOCABULARY) for name in ("written", "own"))
    assert few is not None and many is not None and len(many.ids) > len(few.ids)
    assert manifest.lineage[-1].parameters["pairs"] == 6


def test_what_has_no_shortlist_is_refused_in_one_line(context: Context, tmp_path: Path) -> None:
    data = tiny_file(tmp_path)
    quantize(context, TASK, "original", "compact", QuantizeOptions(scheme="ctranslate2-int8"))
    tiny_artifact(several := tiny_context(tmp_path / "several"), Family.BART)
    amend(several.store, "original", generation=GenerationDefaults(language_tokens={"en": "<en>", "de": "<de>"}))

    for each, variant, options, words in (
        (context, "original", ShortlistOptions(candidates=0), "candidates is 0; it is at least 1"),
        (context, "compact", ShortlistOptions(), "is for CTranslate2, which has no shortlists"),
        (several, "original", ShortlistOptions(), "translates several pairs of languages"),
    ):
        with pytest.raises(BadParameters, match=words):
            shortlisted(each, variant, "refused", options, data)
        assert "refused" not in each.store.variants(TASK)
