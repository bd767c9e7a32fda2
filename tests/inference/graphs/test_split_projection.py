"""A decoder with its projection in blocks finds what one with a whole projection finds, in any company."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from slimseq.compression.quantize.options import QuantizeOptions
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.teacher_forcing import TeacherForcedBatch, cross_feeds, open_session, steps
from slimseq.compression.train.data.pairs import DataFiles
from slimseq.inference.generator import TextGenerator, open_generator
from slimseq.inference.graphs import split_projection
from slimseq.inference.graphs.names import LOG_SUM_EXP_ROWS, LOGIT_COLUMNS, LOGITS
from slimseq.inference.runtimes.onnxruntime import OnnxRuntime
from slimseq.models_store.manifest import Task
from tests.compression.language_models import m2m100_folder
from tests.compression.tiny import SENTENCES, tiny_file, tiny_import
from tests.inference.engine.company import bits, in_company
from tests.inference.graphs.stepwise import largest_differences
from tests.inference.graphs.test_related_models import model_of
from tests.marian_students import tiny_folder

TASK = Task.TRANSLATION
VARIANTS = ["original", "quantized", "compact", "student"]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"no_repeat_ngram_size": 1},
    {"repetition_penalty": 1.3},
    {"min_new_tokens": 9, "max_new_tokens": 9},
    {"do_sample": True, "temperature": 0.7, "seed": 5, "num_beams": 1},
]
Pair = tuple[OnnxRuntime, OnnxRuntime, TextGenerator]


def split(patch: pytest.MonkeyPatch, most_columns: int = 100, group: int = 5) -> None:
    for name, value in {"MAX_WHOLE": 10, "MAX_COLUMNS": most_columns, "GROUP": group}.items():
        patch.setattr(split_projection, name, value)


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A model with a whole projection, and with its projection in blocks."""
    folder, variant = tmp_path_factory.mktemp("models"), request.param
    is_student = variant == "student"
    source = tiny_folder(folder / "student", has_shortlist=True) if is_student else m2m100_folder(folder / "nllb")
    languages = () if is_student else ("en", "de")
    opened = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("whole", "blocks"):
            context = tiny_import(folder / name, source, max_new_tokens=12, languages=languages)
            if variant in ("quantized", "compact"):
                scheme: Any = "int8-dynamic" if variant == "quantized" else "int4-blocks"
                options = QuantizeOptions(scheme, reduce_range=False, calibration_samples=4)
                quantize(context, TASK, "original", variant, options, DataFiles([tiny_file(folder)]))
            opened.append(open_generator(context.store, TASK, "original" if is_student else variant, "onnxruntime", 1))
            split(patch)
    whole, blocks = (each.runtime for each in opened)
    assert isinstance(whole, OnnxRuntime) and isinstance(blocks, OnnxRuntime)
    yield whole, blocks, opened[1]
    for each in opened:
        each.close()


@pytest.mark.parametrize("beams", [1, 4])
def test_outputs_are_those_of_a_whole_projection_in_any_company(pair: Pair, beams: int) -> None:
    whole, blocks, generator = pair
    rows = [generator.encode(text).ids for text, _ in SENTENCES[:20]]
    made = [generator.manifest.generation.options(**({"num_beams": beams} | each)) for each in SETTINGS]
    options = [made[place % len(made)] for place in range(len(rows))]
    wanted = [whole.generate([row], each)[0] for row, each in zip(rows, options, strict=True)]

    alone = [blocks.generate([row], each)[0] for row, each in zip(rows, options, strict=True)]
    together = in_company(blocks.engine(), rows, options)

    assert [each.ids for each in alone] == [each.ids for each in wanted]
    assert [each.mean_log_probability for each in alone] == pytest.approx(
        [each.mean_log_probability for each in wanted], abs=1e-5
    )
    assert list(map(bits, together)) == list(map(bits, alone))
    assert len({tuple(each.ids) for each in alone}) > len(rows) / 2


def test_scores_of_outputs_are_those_of_a_whole_projection(pair: Pair) -> None:
    whole, blocks, generator = pair
    rows = [generator.encode(text).ids for text, _ in SENTENCES[:6]]

    found, wanted = (runtime.score(rows, [row[::-1] for row in rows]) for runtime in (blocks, whole))

    assert np.concatenate(found) == pytest.approx(np.concatenate(wanted), abs=1e-5)


@pytest.mark.parametrize("name", ["M2M100 and NLLB", "mBART", "mT5 as its hub has it, untied", "Marian student"])
def test_logits_of_all_blocks_are_those_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    split(monkeypatch, most_columns=20, group=4)
    model = model_of(name)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_()

    differences = largest_differences(model, tmp_path)

    assert max(differences.values()) < 1e-4, differences


def test_a_block_is_done_before_the_next_and_no_logits_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest_differences(model_of("M2M100 and NLLB"), tmp_path / "whole")
    split(monkeypatch, most_columns=20, group=4)
    largest_differences(model_of("M2M100 and NLLB"), tmp_path)
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    decoder = ort.InferenceSession(tmp_path / "onnx" / "decoder.onnx", options, ["CPUExecutionProvider"])
    ids = np.full((2, 3), 5)
    batch = TeacherForcedBatch(ids, np.ones_like(ids), ids[:, :1])
    cross = cross_feeds(open_session(tmp_path / "onnx" / "encoder.onnx"), batch) | {LOGIT_COLUMNS: np.array([0])}

    [(_, outputs)] = steps(decoder, batch, cross)

    events = json.loads(Path(decoder.end_profiling()).read_text())
    names = [each["name"] for each in events if each["name"].startswith("/lm_head/") and "kernel" in each["name"]]
    order = [name.split("/")[2] for name in names]
    assert sorted(set(order), key=order.index) == ["40", "20", "0", "blocks"]
    assert order == sorted(order, key=["40", "20", "0", "blocks"].index)
    assert outputs[LOGITS].shape == (2, 0)
    whole = {each.name for each in open_session(tmp_path / "whole" / "onnx" / "decoder.onnx").get_inputs()}
    assert LOG_SUM_EXP_ROWS in whole and LOGIT_COLUMNS not in whole
