"""`Caches` keep their values when they grow, shrink or move within their buffer."""

import numpy as np

from slimseq.inference.engine.memory import Caches

NAMES = ["a", "b", "c"]
HEADS, WIDTH = 2, 3


def filled_caches(inputs: int, length: int) -> Caches:
    """Returns caches whose values encode name, input, head and position."""
    made = Caches(["inputs", HEADS, "positions", WIDTH], axis=2, names=list(NAMES))
    made.resize(inputs, length, 0, np.dtype(np.float32))
    for name, view in made.views(inputs).items():
        view[:] = encoded_values(name, inputs, length)
    return made


def encoded_values(name: str, inputs: int, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    # Thousands for the name, hundreds for the input, fifties for the head, and ones from 1 on for the position.
    first = 1000 * NAMES.index(name) + 100 * np.arange(inputs)[:, None, None] + 50 * np.arange(HEADS)[:, None]
    return np.repeat((first + np.arange(length) + 1)[..., None], WIDTH, axis=-1).astype(np.float32)


def test_a_new_length_keeps_what_fits() -> None:
    made, kept = filled_caches(4, 8), 8
    # Longer and shorter in turn, so that caches move up and down in the buffer, and once into a new one.
    for length in (9, 12, 10, 12, 11, 40, 5, 6):
        made.resize(4, length, 4, np.dtype(np.float32))
        kept = min(kept, length)
        for name, view in made.views(4).items():
            assert view.flags["C_CONTIGUOUS"]
            assert (view[:, :, :kept] == encoded_values(name, 4, kept)).all(), (length, name)


def test_a_small_change_of_length_needs_no_allocation() -> None:
    made = filled_caches(4, 16)
    first = made.array
    for length in (20, 17, 22, 8):
        made.resize(4, length, 4, np.dtype(np.float32))
        assert np.shares_memory(first, made.array), length
