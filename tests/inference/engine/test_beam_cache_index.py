import numpy as np
import pytest
from numpy.typing import NDArray

from slimseq.inference.engine.beam_cache_index import BeamCacheIndex

PLACES, CAPACITY = 4, 64


def columns(num_beams: int, inputs: int) -> BeamCacheIndex:
    made = BeamCacheIndex(num_beams)
    made.resize(PLACES, CAPACITY)
    made.join(inputs)
    return made


def scores(made: BeamCacheIndex) -> NDArray[np.float32]:
    """Returns what masks columns, `(inputs, num_beams, capacity)`."""
    return made.scores(is_alone=False)[:, 0, 0]


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_hypothesis_attends_to_its_own_ancestors_and_nothing_else(num_beams: int) -> None:
    made, drawn = columns(num_beams, inputs=3), np.random.default_rng(0)
    # What stands for the keys and values of a column: which step wrote it, and for which hypothesis.
    written = np.full((3, CAPACITY), -1)
    histories = [[[] for _ in range(num_beams)] for _ in range(3)]  # type: list[list[list[int]]]

    for step in range(20):
        taken = made.take()
        for place in range(3):
            for beam in range(num_beams):
                written[place, taken[place, beam]] = mark = step * num_beams + beam
                histories[place][beam] = [*histories[place][beam], mark]
        for place in range(3):
            for beam in range(num_beams):
                attended = written[place, scores(made)[place, beam] == 0]
                assert sorted(attended) == histories[place][beam]
                alive = scores(made)[place, beam] == 0
                assert (made.distances[place, alive] == step - attended // num_beams).all()
        origins = drawn.integers(num_beams, size=(3, num_beams))
        made.move(origins)
        histories = [[histories[place][beam] for beam in origins[place]] for place in range(3)]

    assert made.wanted() <= 20 * num_beams + num_beams


def test_columns_of_the_dead_are_written_over() -> None:
    made = columns(4, inputs=1)

    for _ in range(40):
        made.take()
        made.move(np.zeros((1, 4), dtype=np.int64))

    # One history, and room for four tokens.
    assert made.wanted() == 40 + 4
    assert made.last() < 40 + 4


def test_places_take_over_what_others_were() -> None:
    made = columns(2, inputs=3)
    made.take()
    made.join(1)
    made.take()
    before = scores(made)[2].copy(), made.distances[2].copy()

    made.keep([(0, 2)], 2)

    assert len(scores(made)) == 2
    assert (scores(made)[0] == before[0]).all() and (made.distances[0] == before[1]).all()
    assert (scores(made)[1] == 0).sum() == 4


def test_those_that_join_attend_to_nothing_of_those_that_left() -> None:
    made = columns(2, inputs=1)
    for _ in range(5):
        made.take()
    made.keep([], 0)

    made.join(1)

    assert made.wanted() == 2 and made.last() == 0
