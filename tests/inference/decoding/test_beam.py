import numpy as np

from slimseq.inference.decoding.beam import BeamSearch
from slimseq.inference.decoding.scores import scores_of
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.manifest import GenerationOptions

BEAMS, STEPS, INPUTS, VOCABULARY = 3, 12, 4, 30
CONFIGURATION = ModelConfiguration(VOCABULARY, 1, 0, 1, 2, None, None, None)


def test_rows_go_on_with_what_they_hold() -> None:
    search, drawn = BeamSearch(CONFIGURATION, BEAMS), np.random.default_rng(0)
    search.join([GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS + 1)] * INPUTS)
    # What stands for the cache of each row: all tokens that it was fed.
    fed: list[list[int]] = [[] for _ in range(INPUTS * BEAMS)]
    moves = 0

    for step in range(STEPS):
        for row, token in enumerate(search.next_tokens().tolist()):
            fed[row] = [*fed[row], token]
        logits = drawn.normal(scale=3, size=(INPUTS * BEAMS, VOCABULARY)).astype(np.float32)
        logits[:, CONFIGURATION.eos_id] = -30
        found = search.advance(scores_of(logits, search.top, needs_log_sum_exp=True))
        assert found.origins is not None and found.origins.shape == (INPUTS, BEAMS)
        moves += int((found.origins != np.arange(BEAMS)).sum())
        fed = [fed[place * BEAMS + beam] for place in range(INPUTS) for beam in found.origins[place]]
        held = search._running.ids.reshape(INPUTS * BEAMS, -1)[:, : step + 1]
        assert held.tolist() == fed

    assert moves > STEPS
