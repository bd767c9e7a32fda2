"""Rules forbid and force the tokens that transformers forbids and forces, for each row by its own options."""

from typing import Any

import numpy as np
import pytest

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.greedy import GreedySearch
from slimseq.inference.decoding.rules import Rules, allowed, may_read_logits, repeated_ngrams
from slimseq.inference.decoding.search import Ids, Scores, Search, scores_of
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.generation import GenerationOptions

VOCABULARY = 10
EOS = 1
START = 2


def configuration(forced_bos: int | None = None, forced_eos: int | None = None) -> ModelConfiguration:
    return ModelConfiguration(
        vocabulary=VOCABULARY,
        decoder_layers=1,
        pad_id=0,
        eos_id=EOS,
        decoder_start_id=START,
        forced_bos_id=forced_bos,
        forced_eos_id=forced_eos,
        max_positions=None,
    )


def possible(
    rows: list[list[int]], options: list[GenerationOptions], model: ModelConfiguration, top: int = VOCABULARY
) -> list[set[int]]:
    """Returns which tokens may come next in each row, of the `top` best. Tokens with higher ids have higher logits."""
    logits = np.tile(np.arange(VOCABULARY, dtype=np.float32), (len(rows), 1))
    # Arrays of ids are longer than the outputs so far.
    ids = np.zeros((len(rows), max(map(len, rows)) + 3), dtype=np.int64)
    for row, row_ids in enumerate(rows):
        ids[row, : len(row_ids)] = row_ids
    positions = np.array([len(row_ids) - 1 for row_ids in rows])
    scores = scores_of(logits, top)
    tokens, found = allowed(scores, ids, positions, Rules.of(options), model, spare=top - 1)
    return [set(tokens[row][found[row] > -np.inf].tolist()) for row in range(len(rows))]


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_same_tokens_would_repeat_an_ngram_as_in_transformers(size: int) -> None:
    import torch
    from transformers import NoRepeatNGramLogitsProcessor

    ids: Ids = np.random.default_rng(0).integers(0, 4, (6, 12))
    scores: Scores = np.zeros((6, VOCABULARY), dtype=np.float32)

    rows, tokens = repeated_ngrams(ids, np.full(6, 12), size)

    scores[rows, tokens] = -np.inf
    expected = NoRepeatNGramLogitsProcessor(size)(torch.tensor(ids), torch.zeros(6, VOCABULARY))
    assert np.array_equal(scores, expected.numpy())


def test_each_row_has_its_own_rules_and_its_own_length() -> None:
    rows = [[START, 5, 6, 5], [START, 5, 6, 5], [START, 7]]
    options = [
        GenerationOptions(no_repeat_ngram_size=2, min_new_tokens=2),
        GenerationOptions(no_repeat_ngram_size=1),
        GenerationOptions(no_repeat_ngram_size=1, min_new_tokens=2),
    ]

    found = possible(rows, options, configuration())

    everything = set(range(VOCABULARY))
    assert found == [everything - {6}, everything - {START, 5, 6}, everything - {START, 7, EOS}]


def test_a_row_that_is_too_short_for_an_ngram_may_be_beside_one_that_is_not() -> None:
    options = [GenerationOptions(no_repeat_ngram_size=3)] * 2

    found = possible([[START, 5, 6, 7, 5, 6], [START]], options, configuration())

    everything = set(range(VOCABULARY))
    assert found == [everything - {7}, everything]


def test_the_first_and_the_last_token_can_be_forced() -> None:
    options = [GenerationOptions(max_new_tokens=3)] * 3

    found = possible([[START], [START, 7], [START, 7, 5]], options, configuration(forced_bos=7, forced_eos=EOS))

    assert found == [{7}, set(range(VOCABULARY)), {EOS}]


def test_where_the_best_are_all_forbidden_the_next_best_come_up() -> None:
    rows = [[START, 9, 8, 7, 6], [START, 3]]
    options = [GenerationOptions(no_repeat_ngram_size=1)] * 2

    assert possible(rows, options, configuration(), top=2) == [{5, 4}, {9, 8}]


@pytest.mark.parametrize(
    ("options", "num_beams", "is_needed"),
    [
        pytest.param({}, 1, False, id="greedy"),
        pytest.param({"min_new_tokens": 5}, 1, True, id="the best token may be forbidden"),
        pytest.param({"min_new_tokens": 5}, 4, False, id="beam search has tokens to spare"),
        pytest.param({"no_repeat_ngram_size": 3}, 4, True, id="any number of tokens may be forbidden"),
        pytest.param({"repetition_penalty": 1.2}, 4, True, id="penalties"),
        pytest.param({"do_sample": True}, 1, True, id="sampling"),
    ],
)
def test_all_logits_are_needed_only_where_rules_may_forbid_too_many_of_the_best(
    options: dict[str, Any], num_beams: int, is_needed: bool
) -> None:
    model = configuration()
    search: Search = GreedySearch(model) if num_beams == 1 else BeamSearch(model, num_beams)

    needed = may_read_logits(GenerationOptions(num_beams=num_beams, **options), model, search.spare)

    assert needed == is_needed
