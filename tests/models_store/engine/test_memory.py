from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from models_store.decoding.search import Moves
from models_store.engine.memory import BLOCK, Array, Memory
from models_store.graphs.names import SOURCE, past

HEADS, WIDTH = 2, 4
OWN, (KEY, VALUE) = past(0, "decoder"), past(0, "encoder")


def memory(num_beams: int = 1) -> Memory:
    shapes: dict[str, Sequence[int | str]] = {name: ["rows", HEADS, "capacity", WIDTH] for name in OWN}
    shapes |= {KEY: ["inputs", HEADS, WIDTH, SOURCE], VALUE: ["inputs", HEADS, SOURCE, WIDTH]}
    return Memory(shapes, 1, num_beams)


def source(number: int, length: int) -> dict[str, Array]:
    """Keys and values of one input, all of them its number."""
    return {
        KEY: np.full((1, HEADS, WIDTH, length), number, dtype=np.float32),
        VALUE: np.full((1, HEADS, length, WIDTH), number, dtype=np.float32),
    }


def address(views: dict[str, Array]) -> list[int]:
    return [view.__array_interface__["data"][0] for view in views.values()]


def test_inputs_join_behind_those_there_are_and_the_last_takes_a_free_place() -> None:
    room = memory(num_beams=2)
    room.join([3, 5], [source(1, 3), source(2, 5)])
    room.hold(1)
    room.views()[OWN[0]][:] = np.arange(4)[:, None, None, None]
    room.join([2], [source(3, 2)])
    room.keep(np.array([2, 1]))
    room.join([4], [source(4, 4)])

    views = room.views()
    for place, (number, length) in enumerate([(3, 2), (2, 5), (4, 4)]):
        assert (views[KEY][place, :, :, :length] == number).all()
        assert (views[VALUE][place, :, :length] == number).all()
        assert (room.source_scores()[place, 0, 0] == 0).sum() == length
    assert views[OWN[0]].shape == (6, HEADS, BLOCK, WIDTH)
    assert (views[OWN[0]][2:4, 0, 0, 0] == [2, 3]).all()


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


def test_room_for_positions_grows_and_is_given_up() -> None:
    room = memory()
    room.join([1, 1], [source(1, 1), source(2, 1)])

    assert not room.hold(BLOCK)
    assert room.hold(4 * BLOCK + 1)
    room.views()[OWN[1]][:] = 7
    room.keep(np.array([0]))
    assert room.hold(BLOCK + 2)

    assert room.views()[OWN[1]].shape == (1, HEADS, 2 * BLOCK, WIDTH)
    assert (room.views()[OWN[1]] == 7).all()


def test_with_the_last_input_all_memory_goes() -> None:
    room = memory()
    room.join([1], [source(1, 1)])
    room.keep(np.array([], dtype=np.int64))

    assert room.inputs == 0 and room.views() == {}


def test_rows_take_over_what_they_lack_and_keep_what_they_share() -> None:
    room = memory(num_beams=3)
    room.join([3], [source(1, 3)])
    room.hold(5)
    views = room.views()
    own = {name: np.arange(views[name].size, dtype=np.float32).reshape(views[name].shape) for name in OWN}
    for name in OWN:
        views[name][:] = own[name]

    # Row 0 follows row 2 from position 3 on, row 2 follows row 0 from position 1 on, row 1 stays.
    moves = Moves(rows=np.array([0, 2]), sources=np.array([2, 0]), parted=np.array([3, 1]))
    room.move(moves, written=np.array([5, 5, 5]))

    for name in OWN:
        wanted = own[name].copy()
        wanted[0, :, 3:5], wanted[2, :, 1:5] = own[name][2, :, 3:5], own[name][0, :, 1:5]
        assert (room.views()[name] == wanted).all()
