"""Beam search on logits that are given, without a model.

Whether it gives the ids of transformers is tested with models, in `tests/inference/runtimes/test_onnxruntime.py`.
"""

import numpy as np

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.search import scores_of
from slimseq.models_store.generation import GenerationOptions
from tests.inference.decoding.configurations import plain_configuration

BEAMS, STEPS, INPUTS, VOCABULARY = 3, 12, 4, 30
CONFIGURATION = plain_configuration(VOCABULARY)


def test_the_origins_of_a_step_say_which_caches_each_beam_goes_on_with() -> None:
    search, random = BeamSearch(CONFIGURATION, BEAMS), np.random.default_rng(0)
    search.join([GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS + 1)] * INPUTS, [False] * INPUTS)
    # What stands for the cache of each row: all tokens that it was fed.
    fed: list[list[int]] = [[] for _ in range(INPUTS * BEAMS)]
    moves = 0

    for step in range(STEPS):
        for row, token in enumerate(search.next_tokens().tolist()):
            fed[row] = [*fed[row], token]
        logits = random.normal(scale=3, size=(INPUTS * BEAMS, VOCABULARY)).astype(np.float32)
        # No hypothesis ends.
        logits[:, CONFIGURATION.eos_id] = -30
        found = search.advance(scores_of(logits, search.top))
        assert found.origins is not None
        assert found.origins.shape == (INPUTS, BEAMS)
        moves += int((found.origins != np.arange(BEAMS)).sum())
        fed = [fed[index * BEAMS + beam] for index in range(INPUTS) for beam in found.origins[index]]
        hypotheses = search._open.ids.reshape(INPUTS * BEAMS, -1)[:, : step + 1]
        assert hypotheses.tolist() == fed

    assert moves > STEPS, "beams were hardly reordered, so the test shows little"


def test_tokens_that_are_reported_early_are_those_of_the_output() -> None:
    random = np.random.default_rng(1)
    options = [
        GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS, length_penalty=each) for each in (-1.0, 0.0, 2.0)
    ]
    early_tokens, all_tokens = 0, 0

    for _ in range(40):
        search, rows = BeamSearch(CONFIGURATION, BEAMS), list(range(len(options)))
        search.join(options, [True, False, True])
        reported: dict[int, list[int]] = {row: [] for row in rows}
        while rows:
            logits = random.normal(scale=3, size=(len(rows) * BEAMS, VOCABULARY)).astype(np.float32)
            found = search.advance(scores_of(logits, search.top))
            for place, token in found.new_tokens:
                reported[rows[place]].append(token)
                early_tokens += place not in found.finished
            for place, sequence in found.finished.items():
                assert reported[rows[place]] == sequence.ids
                all_tokens += len(sequence.ids)
            unfinished = [place for place in range(len(rows)) if place not in found.finished]
            search.keep(np.array(unfinished, dtype=np.int64))
            rows = [rows[place] for place in unfinished]
        assert reported[1], "an input that is not streamed is reported at its end"

    assert early_tokens > all_tokens / 10, "hardly a token was reported early, so the test shows little"


def test_with_a_repetition_penalty_a_streamed_output_is_the_same_too() -> None:
    search = BeamSearch(CONFIGURATION, BEAMS)
    options = GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS, repetition_penalty=8.0)
    search.join([options] * 2, [True, False])
    words, outputs = [5, 6, 7, 8], dict[int, list[int]]()

    # An unlikely empty output, then four words only: the penalty makes each of them less likely than that.
    for step in range(STEPS):
        logits = np.full(VOCABULARY, -60, dtype=np.float32)
        logits[words] = 0
        if step == 0:
            logits[words[1:]], logits[CONFIGURATION.eos_id] = -12, -7
        found = search.advance(scores_of(np.tile(logits, (2 * BEAMS, 1)), search.top))
        outputs |= {place: sequence.ids for place, sequence in found.finished.items()}
        if outputs:
            break

    assert outputs == {0: [CONFIGURATION.eos_id], 1: [CONFIGURATION.eos_id]}
