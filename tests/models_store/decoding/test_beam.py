import numpy as np

from models_store.configuration import ModelConfiguration
from models_store.decoding.beam import BeamSearch
from models_store.decoding.scores import scores_of
from models_store.manifest import Family, GenerationOptions

BEAMS, STEPS, INPUTS, VOCABULARY = 3, 12, 4, 30
CONFIGURATION = ModelConfiguration(Family.T5, VOCABULARY, 1, 0, 1, 2, None, None, None)


def test_rows_part_from_those_that_they_follow_where_their_tokens_differ() -> None:
    search, drawn = BeamSearch(CONFIGURATION, BEAMS), np.random.default_rng(0)
    search.join([GenerationOptions(num_beams=BEAMS, max_new_tokens=STEPS + 1)] * INPUTS)
    # What each row would have cached: the tokens that it was fed, and a stand-in for values that depend on all of them.
    fed: list[list[int]] = [[] for _ in range(INPUTS * BEAMS)]
    moves = 0

    for _ in range(STEPS):
        for row, token in enumerate(search.next_tokens().tolist()):
            fed[row] = [*fed[row], token]
        logits = drawn.normal(scale=3, size=(INPUTS * BEAMS, VOCABULARY)).astype(np.float32)
        logits[:, CONFIGURATION.eos_id] = -30
        found = search.advance(scores_of(logits, search.top, is_normalised=True))
        assert found.order is not None and found.parted is not None
        followed = [fed[source] for source in found.order]
        for row, parted in enumerate(found.parted):
            if found.order[row] != row:
                moves += 1
                assert fed[row][:parted] == followed[row][:parted]
                assert fed[row] == followed[row] or fed[row][parted] != followed[row][parted]
        fed = followed

    assert moves > STEPS
