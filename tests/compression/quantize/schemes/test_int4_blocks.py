"""`int4-blocks`: integers come back from their packed form exactly, and GPTQ finds better ones than the nearest."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.packing import (
    FOUR_BITS,
    NINE_LEVELS,
    Levels,
    factored_parts,
    frequent_tokens,
    pack,
)
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions
from slimseq.compression.quantize.schemes.int4_blocks import BlockWeights, quantize_blocks
from slimseq.compression.train.data.training_data import DataFiles
from slimseq.inference.load import load
from slimseq.models_store.manifest import Task
from tests.compression.quantize.measured import error
from tests.compression.tiny import tiny_file

RANDOM = np.random.default_rng(0)
# `(outputs, inputs)`: neither is a multiple of how many integers fill a word.
WEIGHTS = RANDOM.normal(size=(66, 96)).astype(np.float32)
# Uncorrelated inputs: each weight gets the nearest level.
NEAREST = np.eye(96)
STATES = RANDOM.normal(size=(500, 96)) @ RANDOM.normal(size=(96, 96))


@pytest.mark.parametrize("levels", [FOUR_BITS, NINE_LEVELS], ids=["4 bits", "9 levels and 4 bits"])
@pytest.mark.parametrize("is_transposed", [False, True], ids=["rows", "columns"])
def test_the_runtime_unpacks_the_same_integers(levels: Levels, is_transposed: bool, tmp_path: Path) -> None:
    integers, _ = quantize_blocks(WEIGHTS, levels, NEAREST)
    if levels is NINE_LEVELS:
        frequent, _ = quantize_blocks(WEIGHTS[: frequent_tokens(len(WEIGHTS))], FOUR_BITS, NEAREST)
        integers[: len(frequent)] = frequent
    stored = np.ascontiguousarray(integers.T) if is_transposed else integers
    output = helper.make_tensor_value_info("integers", TensorProto.INT8, stored.shape)
    node, tensor = helper.make_node("Identity", ["matrix"], ["integers"]), numpy_helper.from_array(stored, "matrix")
    graph = helper.make_graph([node], "one", [], [output], [tensor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "m.onnx")

    pack(tmp_path)

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "opened")
    [found] = ort.InferenceSession(tmp_path / "m.onnx", options).run(None, {})
    assert {node.op_type for node in onnx.load(tmp_path / "opened").graph.node} <= {"Identity"}, "computed once"
    assert np.array_equal(found, stored)
    assert sum(len(tensor.raw_data) for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer) < stored.size * 0.6


def test_frequent_tokens_have_more_levels_and_both_kinds_are_packed() -> None:
    tokens = np.random.default_rng(1).normal(size=(100, 96)).astype(np.float32)
    how = BlockWeights(False, {"lm_head": (NINE_LEVELS, NEAREST)})

    integers, scales = how.quantize("lm_head", np.ascontiguousarray(tokens.T))

    errors = np.square(integers * scales - tokens.T).mean(axis=0)
    few = frequent_tokens(100)
    assert few == 8
    assert errors[:few].mean() < 0.5 * errors[few:].mean()
    for stored, axis in ((integers, 1), (integers.T, 0)):
        found = factored_parts(stored)
        assert found is not None
        assert found[0] == axis
        assert [levels for levels, *_ in found[1]] == [FOUR_BITS, NINE_LEVELS]


@pytest.mark.parametrize(("levels", "share"), [(FOUR_BITS, 0.5), (NINE_LEVELS, 0.95)], ids=["4 bits", "9 levels"])
def test_integers_fit_in_7_bits_and_gptq_loses_less_of_the_outputs(levels: Levels, share: float) -> None:
    def lost(moments: np.ndarray) -> float:
        integers, scales = quantize_blocks(WEIGHTS, levels, moments)
        assert np.abs(integers).max() <= 64
        return float(np.square(STATES @ (integers * scales[:, None] - WEIGHTS).T).mean())

    assert lost(STATES.T @ STATES) < share * lost(NEAREST)


@pytest.mark.parametrize(("files", "samples"), [(None, 64), ("pairs", 0)], ids=["no file", "no sample"])
def test_calibration_needs_data(context: Context, tmp_path: Path, files: str | None, samples: int) -> None:
    given = DataFiles([tiny_file(tmp_path)]) if files else None
    options = QuantizeOptions("int4-blocks", calibration_samples=samples)

    with pytest.raises(BadParameters, match="int4-blocks needs calibration or train data here"):
        quantize(context, Task.TRANSLATION, "original", "blocks", options, given)

    assert context.store.variants(Task.TRANSLATION) == ["original"]


def test_it_is_half_of_int8_and_answers_do_not_depend_on_company(family_context: Context, tmp_path: Path) -> None:
    options = QuantizeOptions("int4-blocks", calibration_samples=10)
    int8 = quantize(family_context, Task.TRANSLATION, "original", "int8")

    manifest = quantize(
        family_context, Task.TRANSLATION, "original", "blocks", options, DataFiles([tiny_file(tmp_path)])
    )

    assert error(family_context, manifest, tmp_path) < 0.2
    assert manifest.lineage[-1].parameters["calibration_pairs"] == 10
    assert manifest.size.bytes_by_format["onnx"] < int8.size.bytes_by_format["onnx"]
    texts = ["It rained all night.", "A", "The train to the coast leaves at noon from the other side."]
    with load(family_context.store.folder(Task.TRANSLATION, "blocks")) as model:
        together = model.generate(texts, max_new_tokens=12)
        assert [model.generate([text], max_new_tokens=12)[0] for text in texts] == together
