"""A decoder whose output projection is split into blocks gives the outputs of a decoder with a whole projection."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, cross_feeds, open_session, steps
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.inference.generator import open_generator
from slimseq.inference.graphs import split_projection
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

SETTINGS: list[dict[str, Any]] = [{}, {"no_repeat_ngram_size": 1}, {"repetition_penalty": 1.3}, {"min_new_tokens": 9}]
SETTINGS += [{"do_sample": True, "temperature": 0.7, "seed": 5, "num_beams": 1}]


def split(patch: pytest.MonkeyPatch, most_columns: int, group: int) -> None:
    """Makes exports split small vocabularies too."""
    for name, value in {"MAX_WHOLE": 10, "MAX_COLUMNS": most_columns, "GROUP": group}.items():
        patch.setattr(split_projection, name, value)


@pytest.mark.parametrize("variant", ["original", "int8-dynamic", "int4-blocks", "shortlist"])
def test_outputs_are_those_of_a_whole_projection_in_any_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Any
) -> None:
    is_student, is_quantized = variant == "shortlist", variant.startswith("int")
    folder = tmp_path / "source"
    source = tiny_folder(folder, has_shortlist=True) if is_student else m2m100_folder(folder)
    # Each has two items: of the whole projection, and of that in blocks.
    alone, together, scores = list[list[GeneratedSequence]](), [], []
    for name in ("whole", "blocks"):
        languages = () if is_student else ("en", "de")
        context = tiny_import(tmp_path / name, source, max_new_tokens=12, languages=languages)
        if is_quantized:
            options = QuantizeOptions(variant, reduce_range=False, calibration_samples=4)
            quantize(context, Task.TRANSLATION, "original", variant, options, DataFiles([tiny_file(tmp_path)]))
        artifact = variant if is_quantized else "original"
        with open_generator(context.store, Task.TRANSLATION, artifact, "onnxruntime", threads=1) as generator:
            runtime, defaults = generator.runtime, generator.manifest.generation
            assert isinstance(runtime, OnnxRuntime)
            rows = [generator.encode(text).ids for text, _ in SENTENCES[:20]]
            # 20 options, one a row.
            options_of_rows = [
                defaults.options(**({"num_beams": beams} | settings)) for beams in (1, 4) for settings in SETTINGS
            ] * 2
            alone.append([runtime.generate([row], each)[0] for row, each in zip(rows, options_of_rows, strict=True)])
            together.append(in_company(runtime.engine(), rows, options_of_rows))
            scores.append(np.concatenate(runtime.score(rows, [row[::-1] for row in rows])))
        split(monkeypatch, most_columns=100, group=5)

    whole, blocks = alone
    assert [each.ids for each in blocks] == [each.ids for each in whole]
    means_of_whole = [each.mean_log_probability for each in whole]
    assert [each.mean_log_probability for each in blocks] == pytest.approx(means_of_whole, abs=1e-5)
    assert scores[1] == pytest.approx(scores[0], abs=1e-5)
    assert list(map(exact_output, together[1])) == list(map(exact_output, blocks))
    assert len({tuple(each.ids) for each in blocks}) > len(rows) / 3, "outputs hardly differ, so the test shows little"


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
