import numpy as np

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.search import scores_of
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.generation import GenerationOptions

BEAMS, STEPS, INPUTS, VOCABULARY = 3, 12, 4, 30
CONFIGURATION = ModelConfiguration(VOCABULARY, 1, 0, 1, 2, None, None, None)


def test_rows_go_on_with_what_they_hold() -> None:
    search, drawn = BeamSearch(CONFIGURATION, BEAMS), np.random.default_rng(0)
    search.join([GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS + 1)] * INPUTS, [False] * INPUTS)
    # What stands for the cache of each row: all tokens that it was fed.
    fed: list[list[int]] = [[] for _ in range(INPUTS * BEAMS)]
    moves = 0

    for step in range(STEPS):
        for row, token in enumerate(search.next_tokens().tolist()):
            fed[row] = [*fed[row], token]
        logits = drawn.normal(scale=3, size=(INPUTS * BEAMS, VOCABULARY)).astype(np.float32)
        logits[:, CONFIGURATION.eos_id] = -30
        found = search.advance(scores_of(logits, search.top))
        assert found.origins is not None and found.origins.shape == (INPUTS, BEAMS)
        moves += int((found.origins != np.arange(BEAMS)).sum())
        fed = [fed[place * BEAMS + beam] for place in range(INPUTS) for beam in found.origins[place]]
        held = search._open.ids.reshape(INPUTS * BEAMS, -1)[:, : step + 1]
        assert held.tolist() == fed

    assert moves > STEPS


def test_tokens_that_are_reported_early_are_those_of_the_output() -> None:
    drawn = np.random.default_rng(1)
    options = [
        GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS, length_penalty=each) for each in (-1.0, 0.0, 2.0)
    ]
    early = ended = 0

    for _ in range(40):
        search, rows = BeamSearch(CONFIGURATION, BEAMS), list(range(len(options)))
        search.join(options, [True, False, True])
        reported: dict[int, list[int]] = {row: [] for row in rows}
        while rows:
            logits = drawn.normal(scale=3, size=(len(rows) * BEAMS, VOCABULARY)).astype(np.float32)
            found = search.advance(scores_of(logits, search.top))
            for place, token in found.new_tokens:
                reported[rows[place]].append(token)
                early += place not in found.finished
            for place, sequence in found.finished.items():
                assert reported[rows[place]] == sequence.ids
                ended += len(sequence.ids)
            left = [place for place in range(len(rows)) if place not in found.finished]
            search.keep(np.array(left, dtype=np.int64))
            rows = [rows[place] for place in left]
        assert reported[1], "an input that is not streamed is reported at its end"

    assert early > ended / 10


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
