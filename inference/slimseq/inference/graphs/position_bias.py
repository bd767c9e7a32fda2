"""T5's relative position biases: a table by distance, looked up when the graph runs.

T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683) puts distances between positions into buckets, which are wider
for greater distances, and has one bias a bucket and head. Its own code computes the bucket of every pair of positions
at run time, with a logarithm. Here the export computes the bias of every distance once. All distances from the greatest
on share one bucket, so the table is small.
"""

import math

import numpy as np
from numpy.typing import NDArray

from slimseq.inference.graphs.builder import GraphBuilder
from slimseq.inference.graphs.tensor_names import DISTANCES, SELF_ATTENTION_BIAS
from slimseq.inference.models.architecture import Buckets
from slimseq.inference.models.safetensors_reader import Floats


def bucket_of(distances: NDArray[np.int64], buckets: Buckets, *, is_bidirectional: bool) -> NDArray[np.int64]:
    """Returns the bucket of each distance, as `T5Attention._relative_position_bucket` of transformers gives it.

    A distance is the key's position less the query's. If it is not bidirectional, keys after the query count as 0.
    """
    count = buckets.count
    found = np.zeros_like(distances)
    if is_bidirectional:
        count //= 2
        found += (distances > 0) * count
        distances = np.abs(distances)
    else:
        distances = -np.minimum(distances, 0)
    # Half of the buckets have one distance each, the others grow logarithmically.
    exact = count // 2
    # In float32, operator by operator as torch does it: a distance on the edge must fall on the same side.
    ratios = np.log(np.maximum(distances, 1).astype(np.float32) / np.float32(exact))
    steps = ratios / np.float32(math.log(buckets.greatest / exact)) * np.float32(count - exact)
    far = np.minimum(exact + steps.astype(np.int64), count - 1)
    return found + np.where(distances < exact, distances, far)


def source_bias(builder: GraphBuilder, module: str, buckets: Buckets) -> str:
    """Returns the encoder's biases, `(1, heads, length, length)`, for the length of `input_ids`."""
    greatest = buckets.greatest
    distances = np.arange(-greatest, greatest + 1, dtype=np.int64)
    biases = _biases(builder, module, bucket_of(distances, buckets, is_bidirectional=True))
    table = builder.constant(f"{module}.weight.by_distance", biases)
    path = builder.path(module)
    shape = builder.node("Shape", ["input_ids"], path, start=1, end=2)
    length = builder.node("Squeeze", [shape], path)
    one = builder.integer(1)
    # All distances, from the last query's distance to the first key on. There are `2 * length`; the last is not used.
    first = builder.node("Sub", [one, length], path)
    behind = builder.node("Add", [length, one], path)
    between = builder.node("Range", [first, behind, one], path)
    clipped = builder.node("Min", [between, builder.integer(greatest)], path)
    clipped = builder.node("Max", [clipped, builder.integer(-greatest)], path)
    indices = builder.node("Add", [clipped, builder.integer(greatest)], path)
    by_distance = builder.node("Gather", [table, indices], path, axis=1)
    return _shift_rows(builder, by_distance, shape, path)


def _shift_rows(builder: GraphBuilder, values: str, length: str, path: str) -> str:
    """Returns the values of every pair of positions, `(1, heads, length, length)`, given the values of every distance.

    `values` are `(heads, 2 * length)`, and `length` is `(1,)`, int64. The row of each query has the same values, one
    place further left than the row after it. Copies of whole rows do this faster than a look-up of each pair: if all
    rows are repeated in one flat array, which is then cut into rows that are one value shorter, each row moves by one.
    """
    none, one, two = (builder.integers(number) for number in (0, 1, 2))
    all_rest = builder.integers(-1)
    width = builder.node("Mul", [length, two], path)
    narrow = builder.node("Sub", [width, one], path)
    repeats = builder.node("Concat", [one, length, one], path, axis=0)
    repeated = builder.node("Expand", [builder.node("Unsqueeze", [values, one], path), repeats], path)
    flat = builder.node("Reshape", [repeated, builder.integers(0, -1)], path)
    cut = builder.node("Slice", [flat, none, builder.node("Mul", [length, narrow], path), one], path)
    rows = builder.node("Concat", [none, all_rest, narrow], path, axis=0)
    shifted = builder.node("Reshape", [cut, rows], path)
    # The first query's row begins at distance 0.
    start = builder.node("Sub", [length, one], path)
    of_pairs = builder.node("Slice", [shifted, start, narrow, two], path)
    return builder.node("Unsqueeze", [of_pairs, none], path)


def token_bias(builder: GraphBuilder, module: str, buckets: Buckets) -> str:
    """Returns what the decoder adds to scores: the sum of position biases and the mask of slots.

    It is `(inputs, heads, groups, rows a group, capacity)`, float32.
    """
    distances = np.arange(buckets.greatest + 1, dtype=np.int64)
    table = _biases(builder, module, bucket_of(-distances, buckets, is_bidirectional=False))
    table_name = builder.constant(f"{module}.weight.by_distance", table)
    path = builder.path(module)
    clipped = builder.node("Min", [DISTANCES, builder.integer(buckets.greatest)], path)
    heads_first = builder.node("Gather", [table_name, clipped], path, axis=1)
    by_input = builder.node("Transpose", [heads_first], path, perm=[1, 0, 2, 3, 4])
    return builder.node("Add", [by_input, SELF_ATTENTION_BIAS], path)


def _biases(builder: GraphBuilder, module: str, buckets: NDArray[np.int64]) -> Floats:
    """Returns biases by distance, `(heads, distances)`. Heads come first, as in attention scores."""
    return np.ascontiguousarray(builder.weights.read(f"{module}.weight")[buckets].T)
