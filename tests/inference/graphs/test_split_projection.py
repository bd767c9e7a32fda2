"""A decoder whose output projection is split into blocks gives the outputs of a decoder with a whole projection."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, cross_feeds, open_session, steps
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.inference.generator import open_generator
from slimseq.inference.graphs import split_projection, tensor_names
from slimseq.inference.graphs.tensor_names import LOGIT_COLUMNS, LOGITS
from slimseq.inference.runtime import GeneratedSequence
from slimseq.inference.runtimes.onnxruntime import OnnxRuntime
from slimseq.models_store.manifest import Task
from tests.compression.language_models import m2m100_folder
from tests.compression.tiny import SENTENCES, tiny_file, tiny_import
from tests.inference.engine.company import exact_output, in_company
from tests.inference.graphs.stepwise import largest_differences
from tests.inference.graphs.test_related_models import model_of
from tests.marian_students import tiny_folder

SETTINGS: list[dict[str, Any]] = [
    {},
    {"no_repeat_ngram_size": 1},
    {"repetition_penalty": 1.3},
    {"min_new_tokens": 9},
    {"do_sample": True, "temperature": 0.7, "seed": 5, "num_beams": 1},
]
ROWS = 20


def split(patch: pytest.MonkeyPatch, most_columns: int, group: int) -> None:
    """Makes exports split small vocabularies too."""
    patch.setattr(tensor_names, "MAX_WHOLE_VOCABULARY", 10)
    patch.setattr(split_projection, "MAX_COLUMNS", most_columns)
    patch.setattr(split_projection, "GROUP", group)


@dataclass(frozen=True)
class Outputs:
    """What a model generates for each sentence alone and for all together, and its scores of other outputs."""

    alone: list[GeneratedSequence]
    together: list[GeneratedSequence]
    scores: NDArray[Any]


def outputs_of(variant: Any, source: Path, folder: Path) -> Outputs:
    """Imports a model, makes a variant of it, and generates with options of all kinds."""
    is_student, is_quantized = variant == "shortlist", variant.startswith("int")
    languages = () if is_student else ("en", "de")
    context = tiny_import(folder, source, max_new_tokens=12, languages=languages)
    if is_quantized:
        options = QuantizeOptions(variant, reduce_range=False, calibration_samples=4)
        quantize(context, Task.TRANSLATION, "original", variant, options, DataFiles([tiny_file(folder)]))
    artifact = variant if is_quantized else "original"
    with open_generator(context.store, Task.TRANSLATION, artifact, "onnxruntime", threads=1) as generator:
        runtime = generator.runtime
        assert isinstance(runtime, OnnxRuntime)
        rows = [generator.encode(text).ids for text, _ in SENTENCES[:ROWS]]
        different_options = [
            generator.manifest.generation.options(**({"num_beams": beams} | settings))
            for beams in (1, 4)
            for settings in SETTINGS
        ]
        options_of_rows = [different_options[row % len(different_options)] for row in range(ROWS)]
        engine = runtime.engine()
        # Trimming runs both graphs, and must not change what follows.
        engine.trim()
        return Outputs(
            alone=[runtime.generate([row], each)[0] for row, each in zip(rows, options_of_rows, strict=True)],
            together=in_company(engine, rows, options_of_rows),
            # The tokens of each source, backwards, are an output to score.
            scores=np.concatenate(runtime.score(rows, [row[::-1] for row in rows])),
        )


@pytest.mark.parametrize("variant", ["original", "int8-dynamic", "int4-blocks", "shortlist"])
def test_outputs_are_those_of_a_whole_projection_in_any_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Any
) -> None:
    folder = tmp_path / "source"
    source = tiny_folder(folder, has_shortlist=True) if variant == "shortlist" else m2m100_folder(folder)
    whole = outputs_of(variant, source, tmp_path / "whole")

    split(monkeypatch, most_columns=100, group=5)
    blocks = outputs_of(variant, source, tmp_path / "blocks")

    assert [each.ids for each in blocks.alone] == [each.ids for each in whole.alone]
    means_of_whole = [each.mean_log_probability for each in whole.alone]
    assert [each.mean_log_probability for each in blocks.alone] == pytest.approx(means_of_whole, abs=1e-5)
    assert blocks.scores == pytest.approx(whole.scores, abs=1e-5)
    assert list(map(exact_output, blocks.together)) == list(map(exact_output, blocks.alone))
    different = {tuple(each.ids) for each in blocks.alone}
    assert len(different) > ROWS / 3, "outputs hardly differ, so the test shows little"


@pytest.mark.parametrize("name", ["M2M100 and NLLB", "mBART", "mT5 as its hub has it, untied", "Marian student"])
def test_blocks_compute_what_the_model_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    split(monkeypatch, most_columns=20, group=4)
    model = model_of(name)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.data.normal_()

    differences = largest_differences(model, tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_a_block_is_done_before_the_next_and_no_logits_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split(monkeypatch, most_columns=20, group=4)
    largest_differences(model_of("M2M100 and NLLB"), tmp_path)
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    decoder = ort.InferenceSession(tmp_path / "onnx" / "decoder.onnx", options, ["CPUExecutionProvider"])
    batch = TeacherForcedBatch(np.full((2, 3), 5), np.ones((2, 3), dtype=np.int64), np.full((2, 1), 5))
    cross = cross_feeds(open_session(tmp_path / "onnx" / "encoder.onnx"), batch) | {LOGIT_COLUMNS: np.array([0])}

    [(_, outputs)] = steps(decoder, batch, cross)

    events = [each["name"].split("/") for each in json.loads(Path(decoder.end_profiling()).read_text())]
    order = [name[2] for name in events if name[:2] == ["", "lm_head"]]
    assert outputs[LOGITS].shape == (2, 0)
    # Blocks are named by their first column. The last one is computed first.
    assert order == sorted(order, key=["40", "20", "0", "blocks"].index)
