"""The caches of inputs in flight: they keep what belongs to each input, and grow and shrink rarely."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from slimseq.inference.engine import memory as memory_module
from slimseq.inference.engine.memory import (
    BLOCK_SLOTS,
    INT8_ALIGNMENT,
    L2_CACHE_BYTES,
    SMALL_BATCH_SLOTS,
    Array,
    Memory,
)
from slimseq.inference.graphs.tensor_names import (
    CROSS_ATTENTION_BIAS,
    DISTANCES,
    SELF_ATTENTION_BIAS,
    SOURCE,
    DecoderInputs,
    past,
)

HEADS, WIDTH = 2, 4
# The names of the caches of the only layer: keys and values of self-attention, and of cross-attention.
SELF_ATTENTION = past(0, "decoder")
KEY, VALUE = past(0, "encoder")


def memory(num_beams: int = 1, groups: int | str = "groups") -> Memory:
    """Returns the memory of a decoder with one layer. `groups` is a number in graphs for sentences."""
    shapes: dict[str, Sequence[int | str]] = {name: ["inputs", HEADS, 1, "capacity", WIDTH] for name in SELF_ATTENTION}
    shapes |= {KEY: ["inputs", HEADS, WIDTH, SOURCE], VALUE: ["inputs", HEADS, SOURCE, WIDTH]}
    shapes[SELF_ATTENTION_BIAS] = ["inputs", 1, groups, "rows_a_group", "capacity"]
    return Memory(DecoderInputs.of(shapes, layers=1), num_beams)


def source(number: int, length: int) -> dict[str, Array]:
    """Keys and values of one input, filled with its number."""
    return {
        KEY: np.full((1, HEADS, WIDTH, length), number, dtype=np.float32),
        VALUE: np.full((1, HEADS, length, WIDTH), number, dtype=np.float32),
    }


def addresses_of(views: dict[str, Array]) -> list[int]:
    """Returns where the arrays are in memory. An address that changes is a reallocation."""
    return [view.__array_interface__["data"][0] for name, view in views.items() if name != CROSS_ATTENTION_BIAS]


def test_the_last_input_moves_into_a_gap_and_new_ones_are_appended() -> None:
    made = memory(num_beams=2)
    made.join([3, 5], [source(1, 3), source(2, 5)])
    made.ensure_capacity()
    made.allocate_slots()
    # The self-attention keys of the two inputs are 0 and 1.
    made.views()[SELF_ATTENTION[0]][:] = np.arange(2)[:, None, None, None, None]
    made.join([2], [source(3, 2)])

    # The first input leaves, and the third one takes its place.
    made.keep(np.array([2, 1]))
    made.join([4], [source(4, 4)])

    views = made.views()
    for index, (number, length) in enumerate([(3, 2), (2, 5), (4, 4)]):
        assert (views[KEY][index, :, :, :length] == number).all()
        assert (views[VALUE][index, :, :length] == number).all()
        assert (views[CROSS_ATTENTION_BIAS][index, 0, 0] == 0).sum() == length
    assert views[SELF_ATTENTION[0]].shape == (3, HEADS, 1, SMALL_BATCH_SLOTS // 2, WIDTH)
    assert (views[SELF_ATTENTION[0]][1] == 1).all()
    # Of the old input, each of the two hypotheses attends to one token. The new inputs have none yet.
    assert [(views[SELF_ATTENTION_BIAS][index] == 0).sum() for index in range(3)] == [0, 2, 0]


def test_few_inputs_cause_a_reallocation_when_they_join() -> None:
    made = memory()
    addresses = []
    for number in range(64):
        made.join([10], [source(number, 10)])
        addresses.append(addresses_of(made.views()))

    # Each reallocation makes room for half as many inputs more.
    assert sum(before != after for before, after in pairwise(addresses)) < 12
    assert (made.views()[KEY][:, 0, 0, 0] == np.arange(64)).all()


def test_the_length_of_cross_attention_caches_follows_the_longest_input() -> None:
    made = memory()
    made.join([40], [source(1, 40)])
    made.join([10], [source(2, 10)])
    assert made.views()[VALUE].shape[2] == 40

    made.keep(np.array([1]))
    made.join([12], [source(3, 12)])

    assert made.views()[VALUE].shape[2] == 12
    assert (made.views()[VALUE][0, :, :10] == 2).all()


def test_the_length_of_int8_cross_attention_caches_is_a_multiple_of_16() -> None:
    made = memory()
    quantized = {name: values.astype(np.int8) for name, values in source(1, 20).items()}
    made.join([20], [quantized])

    views = made.views()
    # 20 tokens need two blocks.
    assert views[KEY].shape[-1] == 2 * INT8_ALIGNMENT
    assert views[CROSS_ATTENTION_BIAS].shape[-1] == 2 * INT8_ALIGNMENT
    assert (views[KEY][..., :20] == 1).all()
    assert (views[VALUE][:, :, 20:] == 0).all()
    assert (views[CROSS_ATTENTION_BIAS][0, 0, 0] == 0).sum() == 20


def with_one_old_and_one_new_input() -> Memory:
    """Returns the memory of an input with more than four blocks of tokens, and of one without any."""
    made = memory()
    made.join([1, 1], [source(1, 1), source(2, 1)])
    for _ in range(4 * BLOCK_SLOTS + 1):
        made.ensure_capacity()
        made.allocate_slots()
    made.keep(np.array([0]))
    made.join([1], [source(3, 1)])
    return made


def test_self_attention_caches_grow_and_stay_while_an_input_needs_them() -> None:
    made = with_one_old_and_one_new_input()
    version = made.version

    made.ensure_capacity()

    # With two inputs, the caches grow by two blocks at once.
    assert made.views()[SELF_ATTENTION[1]].shape == (2, HEADS, 1, 6 * BLOCK_SLOTS, WIDTH)
    assert made.version == version


def test_self_attention_caches_shrink_when_only_new_inputs_are_left() -> None:
    made = with_one_old_and_one_new_input()
    version = made.version

    made.keep(np.array([1]))
    made.ensure_capacity()

    views = made.views()
    assert made.version > version
    assert views[SELF_ATTENTION[1]].shape == (1, HEADS, 1, SMALL_BATCH_SLOTS, WIDTH)
    assert views[SELF_ATTENTION_BIAS].shape == (1, 1, 1, 1, SMALL_BATCH_SLOTS)
    assert views[DISTANCES].shape == (1, SMALL_BATCH_SLOTS)


@pytest.mark.parametrize(("inputs", "block"), [(1, SMALL_BATCH_SLOTS), (2, SMALL_BATCH_SLOTS // 2), (16, BLOCK_SLOTS)])
def test_caches_of_small_batches_grow_by_more_slots(inputs: int, block: int) -> None:
    made = memory()
    made.join([1] * inputs, [source(1, 1)] * inputs)
    version = made.version
    # The first inputs of a large batch get one block when they join.
    blocks_at_join = 1 if block == BLOCK_SLOTS else 0

    for _ in range(2 * SMALL_BATCH_SLOTS):
        made.ensure_capacity()
        made.allocate_slots()

    assert made.version - version == 2 * SMALL_BATCH_SLOTS // block - blocks_at_join


@pytest.mark.parametrize(
    ("groups", "has_kernel", "groups_and_rows"),
    [
        pytest.param("groups", True, (4, 1), id="documents"),
        pytest.param("groups", False, (1, 4), id="documents, no matrix-vector kernel"),
        pytest.param(1, True, (1, 4), id="sentences"),
    ],
)
def test_large_caches_of_documents_have_one_group_a_hypothesis_where_the_platform_has_a_kernel(
    groups: int | str, has_kernel: bool, groups_and_rows: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "HAS_MATRIX_VECTOR_KERNEL", has_kernel)
    made = memory(num_beams=4, groups=groups)
    made.join([1], [source(1, 1)])
    made.ensure_capacity()
    made.allocate_slots()
    few = made.views()[SELF_ATTENTION_BIAS]
    # So many inputs that their caches exceed the second-level cache. A float32 has 4 bytes.
    large = L2_CACHE_BYTES // (len(SELF_ATTENTION) * HEADS * BLOCK_SLOTS * WIDTH * 4)

    made.join([1] * large, [source(2, 1)] * large)
    made.ensure_capacity()
    many = made.views()[SELF_ATTENTION_BIAS]

    assert few.shape == (1, 1, 1, 4, SMALL_BATCH_SLOTS)
    assert many.shape == (1 + large, 1, *groups_and_rows, BLOCK_SLOTS)
    # Each of the four hypotheses attends to its first token.
    assert (few[0] == 0).sum() == 4
    assert (many[0] == 0).sum() == 4


def test_layers_with_different_numbers_of_heads_have_caches_of_their_own_shapes() -> None:
    shapes: dict[str, Sequence[int | str]] = {}
    for layer, heads in enumerate((1, 3, 1)):
        shapes |= {name: ["inputs", heads, 1, "capacity", WIDTH] for name in past(layer, "decoder")}
    shapes |= {KEY: ["inputs", HEADS, WIDTH, SOURCE], VALUE: ["inputs", HEADS, SOURCE, WIDTH]}
    shapes[SELF_ATTENTION_BIAS] = ["inputs", 1, 1, "rows_a_group", "capacity"]
    made = Memory(DecoderInputs.of(shapes, layers=3), num_beams=2)
    names = [name for layer in range(3) for name in past(layer, "decoder")]

    made.join([3, 5], [source(1, 3), source(2, 5)])
    made.ensure_capacity()
    made.allocate_slots()
    for number, name in enumerate(names):
        # Each cache has values of its own for each input.
        made.views()[name][:] = 10 * number + np.arange(2)[:, None, None, None, None]
    made.join([2, 9], [source(3, 2), source(4, 9)])
    made.keep(np.array([1]))

    for number, name in enumerate(names):
        cache = made.views()[name]
        assert cache.shape[1] == shapes[name][1]
        # The second input is the only one that stays. It keeps the slots that it used.
        assert (cache[:, :, :, :2] == 10 * number + 1).all()
