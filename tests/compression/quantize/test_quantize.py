from collections import Counter

import numpy as np
import onnx
import pytest

from slimseq.compression.context import Context
from slimseq.compression.errors import BadParameters
from slimseq.compression.quantize.embedding import quantize_rows
from slimseq.compression.quantize.options import SchemeName
from slimseq.compression.quantize.quantize import QuantizeOptions, quantize
from slimseq.evaluation.host import has_vnni
from slimseq.inference.graphs.names import past
from slimseq.models_store.manifest import Manifest, Task
from slimseq.models_store.store import Store

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


def test_keys_and_values_are_quantized_for_documents_and_not_for_sentences(embedded: Store) -> None:
    kinds = {}
    for task in Task:
        path = embedded.folder(task, "quantized") / "onnx" / "decoder.onnx"
        inputs = {entry.name: entry for entry in onnx.load(path, load_external_data=False).graph.input}
        kinds[task] = inputs[past(0, "encoder")[0]].type.tensor_type.elem_type

    assert kinds == {Task.SUMMARIZATION: onnx.TensorProto.INT8, Task.TRANSLATION: onnx.TensorProto.FLOAT}


def test_the_embedding_is_stored_once(embedded: Store) -> None:
    for task in Task:
        folder = embedded.folder(task, "quantized") / "onnx"
        manifest = embedded.manifest(task, "quantized")

        table = (folder / "embedding.data").read_bytes()

        assert len(table) % 256 == 0
        assert table[:4096] not in (folder / "encoder.onnx").read_bytes()
        assert table[:4096] not in (folder / "decoder.onnx").read_bytes()
        assert manifest.size.bytes_by_format["onnx"] < manifest.size.fp32_bytes / 3.5


def test_sensitive_layers_are_quantized_more_precisely(context: Context) -> None:
    none = quantize(context, TASK, "original", "none", QuantizeOptions(sensitive_layers=()))
    every = quantize(context, TASK, "original", "every", QuantizeOptions(sensitive_layers=("",)))

    plain, finely = operators(context, none), operators(context, every)
    # What nothing bounds, and nobody called sensitive, is rounded as it comes: the ends of four feed-forwards.
    assert plain["MatMulInteger"] == plain["DynamicQuantizeLinear"] == 4
    assert finely["MatMulInteger"] == 0
    assert finely["MatMulIntegerToFloat"] == plain["MatMulIntegerToFloat"] + 4
    assert finely["ReduceMax"] >= plain["ReduceMax"] + 2
    assert every.lineage[-1].parameters["sensitive_layers"] == [""]


def operators(context: Context, manifest: Manifest) -> Counter[str]:
    folder = context.store.folder(manifest.task, manifest.variant) / "onnx"
    graphs = [onnx.load(folder / name, load_external_data=False) for name in ("encoder.onnx", "decoder.onnx")]
    return Counter(node.op_type for graph in graphs for node in graph.graph.node)


def test_an_artifact_without_safetensors_cannot_be_quantized(context: Context) -> None:
    quantize(context, TASK, "original")

    with pytest.raises(BadParameters, match="has no safetensors to quantize from"):
        quantize(context, TASK, "quantized", "twice")
    with pytest.raises(BadParameters, match="cannot be quantized onto itself"):
        quantize(context, TASK, "original", "original")


def test_rows_are_quantized_within_half_a_step() -> None:
    floats = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    floats[7] = 0

    integers, scales = quantize_rows(floats)

    assert integers.dtype == np.int8 and scales.shape == (50, 1)
    assert (np.abs(integers * scales - floats) <= scales / 2 + 1e-7).all()
    assert not integers[7].any()
