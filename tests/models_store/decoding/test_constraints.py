import numpy as np
import pytest

from models_store.configuration import ModelConfiguration
from models_store.decoding.constraints import constrain, forbid_repeated_ngrams
from models_store.manifest import Family, GenerationOptions

VOCABULARY = 10
EOS = 1


def configuration(forced_bos: int | None = None, forced_eos: int | None = None) -> ModelConfiguration:
    return ModelConfiguration(Family.BART, VOCABULARY, 1, 0, EOS, 2, forced_bos, forced_eos, None)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_same_tokens_are_forbidden_as_in_transformers(size: int) -> None:
    import torch
    from transformers import NoRepeatNGramLogitsProcessor

    ids = np.random.default_rng(0).integers(0, 4, (6, 12))
    scores = np.zeros((6, VOCABULARY), dtype=np.float32)

    forbid_repeated_ngrams(scores, ids, size)

    expected = NoRepeatNGramLogitsProcessor(size)(torch.tensor(ids), torch.zeros(6, VOCABULARY))
    assert np.array_equal(scores, expected.numpy())


def test_the_end_is_forbidden_until_the_minimum() -> None:
    options = GenerationOptions(min_new_tokens=2)
    early = np.zeros((1, VOCABULARY), dtype=np.float32)
    late = np.zeros((1, VOCABULARY), dtype=np.float32)

    constrain(early, np.array([[2, 5]]), options, configuration())
    constrain(late, np.array([[2, 5, 6]]), options, configuration())

    assert early[0, EOS] == -np.inf
    assert late[0, EOS] == 0


def test_the_first_and_the_last_token_can_be_forced() -> None:
    options = GenerationOptions(max_new_tokens=3)
    first = np.zeros((1, VOCABULARY), dtype=np.float32)
    last = np.zeros((1, VOCABULARY), dtype=np.float32)

    constrain(first, np.array([[2]]), options, configuration(forced_bos=7, forced_eos=EOS))
    constrain(last, np.array([[2, 7, 5]]), options, configuration(forced_bos=7, forced_eos=EOS))

    assert np.nonzero(np.isfinite(first[0]))[0].tolist() == [7]
    assert np.nonzero(np.isfinite(last[0]))[0].tolist() == [EOS]
