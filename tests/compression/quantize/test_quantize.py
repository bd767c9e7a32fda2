"""`quantize` as a whole, with the scheme `int8-dynamic`: the published artifact and its graphs."""

import numpy as np
import onnx
import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.int8.quantize_weights import quantize_rows
from slimseq.compression.quantize.quantize import quantize
from slimseq.compression.quantize.quantize_options import QuantizeOptions, SchemeName
from slimseq.evaluation.host import has_vnni
from slimseq.inference.graphs.tensor_names import past
from slimseq.models_store.manifest import Task
from slimseq.models_store.store import Store
from tests.compression.quantize.measured import operators

TASK = Task.TRANSLATION


def test_a_quantized_artifact_is_whole_and_says_what_it_was_made_of(context: Context) -> None:
    manifest = quantize(context, TASK, "original")

    context.store.verify(TASK, "quantized")
    parent, step = context.store.manifest(TASK, "original"), manifest.lineage[-1]
    assert (step.technique, step.parent) == ("quantize", parent.digest)
    assert step.parameters["reduce_range"] is not has_vnni()
    assert set(manifest.size.bytes_by_format) == {"onnx"}
    assert manifest.size.parameters == parent.size.parameters


@pytest.mark.parametrize("scheme", ["int8-dynamic", "ctranslate2-int8"])
def test_quantizing_twice_gives_the_same_bytes(context: Context, scheme: SchemeName) -> None:
    options = QuantizeOptions(scheme=scheme)

    assert len({quantize(context, TASK, "original", name, options).digest for name in ("first", "second")}) == 1


def test_keys_and_values_are_quantized_for_documents_alone_and_the_embedding_is_stored_once(embedded: Store) -> None:
    kinds = {Task.SUMMARIZATION: onnx.TensorProto.INT8, Task.TRANSLATION: onnx.TensorProto.FLOAT}
    for task, kind in kinds.items():
        folder, size = embedded.folder(task, "quantized") / "onnx", embedded.manifest(task, "quantized").size
        graph = onnx.load(folder / "decoder.onnx", load_external_data=False).graph
        table = (folder / "embedding.data").read_bytes()

        inputs = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}

        assert inputs[past(0, "encoder")[0]] == kind
        assert len(table) % 256 == 0
        assert not any(table[:4096] in (folder / name).read_bytes() for name in ("encoder.onnx", "decoder.onnx"))
        assert size.bytes_by_format["onnx"] < size.fp32_bytes / 3.5


def test_sensitive_layers_are_quantized_more_precisely(family_context: Context) -> None:
    none = quantize(family_context, TASK, "original", "none", QuantizeOptions(sensitive_layers=()))
    every = quantize(family_context, TASK, "original", "every", QuantizeOptions(sensitive_layers=("",)))

    plain, finely = operators(family_context, none), operators(family_context, every)
    # What nothing bounds, and nobody called sensitive, is rounded as it comes: the ends of four feed-forwards.
    assert plain["MatMulInteger"] == 4
    assert plain["DynamicQuantizeLinear"] == 4
    assert finely["MatMulInteger"] == 0
    assert finely["MatMulIntegerToFloat"] == plain["MatMulIntegerToFloat"] + 4
    assert finely["ReduceMax"] >= plain["ReduceMax"] + 2
    assert every.lineage[-1].parameters["sensitive_layers"] == [""]


def test_an_artifact_without_safetensors_cannot_be_quantized(context: Context) -> None:
    quantize(context, TASK, "original")

    with pytest.raises(BadParameters, match="has no safetensors to start from"):
        quantize(context, TASK, "quantized", "twice")
    with pytest.raises(BadParameters, match="would replace what it is made from"):
        quantize(context, TASK, "original", "original")


def test_rows_are_quantized_within_half_a_step() -> None:
    floats = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    floats[7] = 0

    integers, scales = quantize_rows(floats)

    assert integers.dtype == np.int8
    assert scales.shape == (50, 1)
    assert (np.abs(integers * scales - floats) <= scales / 2 + 1e-7).all()
    assert not integers[7].any()
