import numpy as np

from slimseq.inference.engine.memory import Caches

NAMES = ["a", "b", "c"]
HEADS, WIDTH = 2, 3


def caches() -> Caches:
    return Caches(["inputs", HEADS, "positions", WIDTH], axis=2, names=list(NAMES))


def filled(inputs: int, length: int) -> Caches:
    """Caches whose values encode name, input, head and position."""
    made = caches()
    made.resize(inputs, length, 0, np.dtype(np.float32))
    for name, view in made.views(inputs).items():
        view[:] = numbers(name, inputs, length)
    return made


def numbers(name: str, inputs: int, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    at = 1000 * NAMES.index(name) + 100 * np.arange(inputs)[:, None, None] + 50 * np.arange(HEADS)[:, None]
    return np.repeat((at + np.arange(length) + 1)[..., None], WIDTH, axis=-1).astype(np.float32)


def test_a_new_length_keeps_what_fits() -> None:
    made, kept = filled(4, 8), 8
    for length in (9, 12, 10, 12, 11, 40, 5, 6):
        made.resize(4, length, 4, np.dtype(np.float32))
        kept = min(kept, length)
        for name, view in made.views(4).items():
            assert view.flags["C_CONTIGUOUS"]
            assert (view[:, :, :kept] == numbers(name, 4, kept)).all(), (length, name)


def test_a_small_change_of_length_needs_no_allocation() -> None:
    made = filled(4, 16)
    first = made.array
    for length in (20, 17, 22, 8):
        made.resize(4, length, 4, np.dtype(np.float32))
        assert np.shares_memory(first, made.array), length
