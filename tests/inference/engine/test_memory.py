from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from slimseq.inference.engine import memory as memory_module
from slimseq.inference.engine.caches import Array
from slimseq.inference.engine.memory import ALIGNED, BLOCK, CACHED_BYTES, COLUMNS_OF_FEW, Memory
from slimseq.inference.graphs.names import CROSS_ATTENTION_BIAS, DISTANCES, SELF_ATTENTION_BIAS, SOURCE, past

HEADS, WIDTH = 2, 4
OWN, (KEY, VALUE) = past(0, "decoder"), past(0, "encoder")


def memory(num_beams: int = 1, groups: int | str = "groups") -> Memory:
    shapes: dict[str, Sequence[int | str]] = {name: ["inputs", HEADS, 1, "capacity", WIDTH] for name in OWN}
    shapes |= {KEY: ["inputs", HEADS, WIDTH, SOURCE], VALUE: ["inputs", HEADS, SOURCE, WIDTH]}
    shapes[SELF_ATTENTION_BIAS] = ["inputs", 1, groups, "rows_a_group", "capacity"]
    return Memory(shapes, 1, num_beams)


def source(number: int, length: int) -> dict[str, Array]:
    """Keys and values of one input, all of them its number."""
    return {
        KEY: np.full((1, HEADS, WIDTH, length), number, dtype=np.float32),
        VALUE: np.full((1, HEADS, length, WIDTH), number, dtype=np.float32),
    }


def address(views: dict[str, Array]) -> list[int]:
    return [view.__array_interface__["data"][0] for name, view in views.items() if name != CROSS_ATTENTION_BIAS]


def test_inputs_join_behind_those_there_are_and_the_last_takes_a_free_place() -> None:
    room = memory(num_beams=2)
    room.join([3, 5], [source(1, 3), source(2, 5)])
    room.hold()
    room.take()
    room.views()[OWN[0]][:] = np.arange(2)[:, None, None, None, None]
    room.join([2], [source(3, 2)])
    room.keep(np.array([2, 1]))
    room.join([4], [source(4, 4)])

    views = room.views()
    for place, (number, length) in enumerate([(3, 2), (2, 5), (4, 4)]):
        assert (views[KEY][place, :, :, :length] == number).all()
        assert (views[VALUE][place, :, :length] == number).all()
        assert (views[CROSS_ATTENTION_BIAS][place, 0, 0] == 0).sum() == length
    assert views[OWN[0]].shape == (3, HEADS, 1, COLUMNS_OF_FEW // 2, WIDTH)
    assert (views[OWN[0]][1] == 1).all()
    assert [(views[SELF_ATTENTION_BIAS][place] == 0).sum() for place in range(3)] == [0, 2, 0]


def test_one_that_joins_moves_the_others_seldom() -> None:
    room = memory()
    addresses = []
    for number in range(64):
        room.join([10], [source(number, 10)])
        addresses.append(address(room.views()))

    assert sum(before != after for before, after in pairwise(addresses)) < 12
    assert (room.views()[KEY][:, 0, 0, 0] == np.arange(64)).all()


def test_room_for_sources_follows_the_longest() -> None:
    room = memory()
    room.join([40], [source(1, 40)])
    room.join([10], [source(2, 10)])
    assert room.views()[VALUE].shape[2] == 40

    room.keep(np.array([1]))
    room.join([12], [source(3, 12)])

    assert room.views()[VALUE].shape[2] == 12
    assert (room.views()[VALUE][0, :, :10] == 2).all()


def test_room_for_sources_in_int8_is_a_multiple_of_what_products_take_at_once() -> None:
    room = memory()
    rounded = {name: values.astype(np.int8) for name, values in source(1, 20).items()}
    room.join([20], [rounded])

    views = room.views()
    assert views[KEY].shape[-1] == views[CROSS_ATTENTION_BIAS].shape[-1] == 2 * ALIGNED
    assert (views[KEY][..., :20] == 1).all() and (views[VALUE][:, :, 20:] == 0).all()
    assert (views[CROSS_ATTENTION_BIAS][0, 0, 0] == 0).sum() == 20


def test_room_for_columns_grows_and_is_given_up() -> None:
    room = memory()
    room.join([1, 1], [source(1, 1), source(2, 1)])
    for _ in range(4 * BLOCK + 1):
        room.hold()
        room.take()
    assert room.views()[OWN[1]].shape == (2, HEADS, 1, 6 * BLOCK, WIDTH)
    room.views()[OWN[1]][:] = 7
    room.keep(np.array([0]))
    room.join([1], [source(3, 1)])
    assert not room.hold()

    room.keep(np.array([1]))
    assert room.hold()

    views = room.views()
    few = COLUMNS_OF_FEW
    assert views[OWN[1]].shape == (1, HEADS, 1, few, WIDTH)
    assert views[SELF_ATTENTION_BIAS].shape == (1, 1, 1, 1, few) and views[DISTANCES].shape == (1, few)


@pytest.mark.parametrize(("inputs", "block"), [(1, COLUMNS_OF_FEW), (2, COLUMNS_OF_FEW // 2), (16, BLOCK)])
def test_the_fewer_inputs_there_are_the_more_seldom_caches_grow(inputs: int, block: int) -> None:
    room = memory()
    room.join([1] * inputs, [source(1, 1)] * inputs)
    grown = 0
    for _ in range(2 * COLUMNS_OF_FEW):
        grown += room.hold()
        room.take()

    assert grown == 2 * COLUMNS_OF_FEW // block - (block == BLOCK)


def test_with_the_last_input_all_memory_goes() -> None:
    room = memory()
    room.join([1], [source(1, 1)])
    room.keep(np.array([], dtype=np.int64))

    assert room.inputs == 0 and room.views() == {}


@pytest.mark.parametrize(
    ("groups", "has_row_products", "found"), [("groups", True, (4, 1)), ("groups", False, (1, 4)), (1, True, (1, 4))]
)
def test_hypotheses_attend_alone_to_caches_that_are_large(
    groups: int | str, has_row_products: bool, found: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_module, "HAS_ROW_PRODUCTS", has_row_products)
    room = memory(num_beams=4, groups=groups)
    room.join([1], [source(1, 1)])
    room.hold()
    room.take()
    few = room.views()[SELF_ATTENTION_BIAS]
    large = CACHED_BYTES // (len(OWN) * HEADS * BLOCK * WIDTH * 4)

    room.join([1] * large, [source(2, 1)] * large)
    room.hold()
    many = room.views()[SELF_ATTENTION_BIAS]

    assert few.shape == (1, 1, 1, 4, COLUMNS_OF_FEW)
    assert many.shape == (1 + large, 1, *found, BLOCK)
    assert (many[0] == 0).sum() == (few[0] == 0).sum() == 4
