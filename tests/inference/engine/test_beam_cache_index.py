"""The slots of the self-attention cache that each hypothesis attends to, as beams reorder and inputs join and leave."""

import numpy as np
import pytest
from numpy.typing import NDArray

from slimseq.inference.engine.beam_cache_index import BeamCacheIndex

MAX_INPUTS, CAPACITY = 4, 64


def index(num_beams: int, inputs: int) -> BeamCacheIndex:
    made = BeamCacheIndex(num_beams)
    made.resize(MAX_INPUTS, CAPACITY)
    made.join(inputs)
    return made


def bias(made: BeamCacheIndex) -> NDArray[np.float32]:
    """Returns the mask of the slots, `(inputs, num_beams, capacity)`."""
    return made.bias(one_row_groups=False)[:, 0, 0]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_hypothesis_attends_to_its_own_ancestors_and_nothing_else(num_beams: int) -> None:
    made, random = index(num_beams, inputs=3), np.random.default_rng(0)
    # Instead of keys and values, each slot has a number: of the step and the hypothesis that wrote it.
    written = np.full((3, CAPACITY), -1)
    histories = [[[] for _ in range(num_beams)] for _ in range(3)]  # type: list[list[list[int]]]

    for step in range(20):
        slots = made.allocate()
        for number in range(3):
            for beam in range(num_beams):
                writer = step * num_beams + beam
                written[number, slots[number, beam]] = writer
                histories[number][beam] = [*histories[number][beam], writer]
        for number in range(3):
            for beam in range(num_beams):
                attended = written[number, bias(made)[number, beam] == 0]
                assert sorted(attended) == histories[number][beam]
                used = bias(made)[number, beam] == 0
                assert (made.distances[number, used] == step - attended // num_beams).all()
        origins = random.integers(num_beams, size=(3, num_beams))
        made.reorder(origins)
        histories = [[histories[number][beam] for beam in origins[number]] for number in range(3)]

    assert made.needed_slots() <= 20 * num_beams + num_beams


def test_slots_of_dropped_hypotheses_are_reused() -> None:
    made = index(4, inputs=1)

    for _ in range(40):
        made.allocate()
        made.reorder(np.zeros((1, 4), dtype=np.int64))

    # One history, and slots for four new tokens.
    assert made.needed_slots() == 40 + 4
    assert made.end_of_used() < 40 + 4


def test_an_input_that_moves_keeps_its_slots() -> None:
    made = index(2, inputs=3)
    made.allocate()
    made.join(1)
    made.allocate()
    before = bias(made)[2].copy(), made.distances[2].copy()

    made.keep([(0, 2)], 2)

    assert len(bias(made)) == 2
    assert (bias(made)[0] == before[0]).all()
    assert (made.distances[0] == before[1]).all()
    # The other input has two hypotheses, each with the slots of two steps.
    assert (bias(made)[1] == 0).sum() == 4


def test_new_inputs_do_not_attend_to_slots_of_inputs_that_left() -> None:
    made = index(2, inputs=1)
    for _ in range(5):
        made.allocate()
    made.keep([], 0)

    made.join(1)

    # Two hypotheses will take one slot each.
    assert made.needed_slots() == 2
    assert made.end_of_used() == 0
