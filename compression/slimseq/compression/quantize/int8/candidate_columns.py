"""Lets a quantized decoder compute the logits of candidates alone, for a model with a shortlist.

The int8 columns of the candidates in the output matrix are an input of the decoder step, which the engine fills
(`slimseq.inference.engine.shortlist_candidates`). The product with a column does not depend on the other columns, so
logits are the same as without candidates. `columns.onnx` reads columns from the embedding that all graphs share.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper, parser

from slimseq.inference.graphs.builder import IR_VERSION, OPSET
from slimseq.inference.graphs.tensor_names import (
    CANDIDATE_MATRIX,
    CANDIDATE_SCALES,
    COLUMNS,
    DECODER,
    IS_SHORTLISTED,
    LM_HEAD,
    LOG_SUM_EXP,
    LOGITS,
    TOP_LOGITS,
    TOP_TOKENS,
)

# The outputs of a step beside caches, and their types.
KINDS = dict.fromkeys((LOGITS, TOP_LOGITS, TOP_TOKENS, LOG_SUM_EXP), TensorProto.FLOAT) | {
    TOP_TOKENS: TensorProto.INT64
}
# Prefix of the values that a step with candidates computes.
PREFIX = "/candidates/"
COLUMNS_GRAPH = """columns (int64[n] candidates) => (int8[w, n] matrix, float[n] scales, float[1, n] biases) {
    rows = Gather(table, candidates)
    matrix = Transpose<perm = [1, 0]>(rows)
    scales = Gather(all_scales, candidates)
    biases = Gather<axis = -1>(all_biases, candidates)
}"""


def add_candidate_columns(folder: Path) -> None:
    """Changes `decoder.onnx` and writes `columns.onnx`, where the projection reads the int8 embedding of the lookups.

    The changed decoder has three more inputs. `IS_SHORTLISTED` `(1,)`, bool, says whether the step is one of candidates
    alone: it multiplies with `CANDIDATE_MATRIX` `(width, candidates)`, int8, whose scales are `CANDIDATE_SCALES`
    `(candidates,)`, float32, and returns the products as `LOGITS`, without bias, and empty best tokens and logsumexp.
    Another projection stays as it is: then all logits are computed, and the engine takes those of the candidates.
    """
    model = onnx.load(folder / DECODER, load_external_data=False)
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    biased = next((node for node in graph.node if node.name == f"{LM_HEAD}/Add"), None)
    product = makers[LOGITS if biased is None else biased.input[0]]
    matrix = makers.get(product.input[1])
    if product.op_type != "MatMulIntegerToFloat" or matrix is None or matrix.op_type != "Transpose":
        return
    table, scales = tensors[matrix.input[0]], tensors[product.input[3]]
    zeros = numpy_helper.from_array(np.zeros((1, table.dims[0]), dtype=np.float32))
    _write_columns(folder / COLUMNS, table, scales, zeros if biased is None else tensors[biased.input[1]])
    # All nodes from the product on belong to the output projection, so they become one branch.
    product_index = [node.name for node in graph.node].index(product.name)
    before, projection = list(graph.node[:product_index]), list(graph.node[product_index:])
    candidate_product = NodeProto()
    candidate_product.CopyFrom(product)
    candidate_product.name, candidate_product.output[0] = f"{PREFIX}MatMul", PREFIX + LOGITS
    candidate_product.input[1], candidate_product.input[3] = CANDIDATE_MATRIX, CANDIDATE_SCALES
    # Both branches of an `If` have the same outputs. With candidates, those other than the logits are empty.
    empty_tensors = {name: helper.make_tensor(name, kind, [0, 1], []) for name, kind in KINDS.items() if name != LOGITS}
    empty = [helper.make_node("Constant", [], [PREFIX + name], value=value) for name, value in empty_tensors.items()]
    branches = {"then_branch": _branch([candidate_product, *empty], PREFIX), "else_branch": _branch(projection)}
    del graph.node[:]
    graph.node.extend([*before, helper.make_node("If", [IS_SHORTLISTED], [*KINDS], name=f"{PREFIX}If", **branches)])
    graph.input.append(helper.make_tensor_value_info(IS_SHORTLISTED, TensorProto.BOOL, [1]))
    graph.input.append(helper.make_tensor_value_info(CANDIDATE_MATRIX, TensorProto.INT8, ["width", "columns"]))
    graph.input.append(helper.make_tensor_value_info(CANDIDATE_SCALES, TensorProto.FLOAT, ["columns"]))
    for output in graph.output:
        if output.name in KINDS:
            shape = [f"{output.name} {axis}" for axis in ("rows", "columns")]
            output.CopyFrom(helper.make_tensor_value_info(output.name, KINDS[output.name], shape))
    onnx.save(model, str(folder / DECODER))


def _branch(nodes: list[NodeProto], prefix: str = "") -> GraphProto:
    outputs = [helper.make_tensor_value_info(prefix + name, kind, None) for name, kind in KINDS.items()]
    return helper.make_graph(nodes, "candidates" if prefix else "all_tokens", [], outputs)


def _write_columns(path: Path, *tensors: TensorProto) -> None:
    """Writes a graph from token ids to the columns of the output matrix, their scales and their biases."""
    graph = parser.parse_graph(COLUMNS_GRAPH)
    for name, tensor in zip(("table", "all_scales", "all_biases"), tensors, strict=True):
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    opsets = [helper.make_opsetid("", OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), str(path))
