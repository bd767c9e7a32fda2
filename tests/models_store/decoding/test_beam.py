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
    # What stands for the cache of each row, whose values depend on all tokens that it was fed.
    fed: list[list[int]] = [[] for _ in range(INPUTS * BEAMS)]
    moves = 0

    for _ in range(STEPS):
        for row, token in enumerate(search.next_tokens().tolist()):
            fed[row] = [*fed[row], token]
        logits = drawn.normal(scale=3, size=(INPUTS * BEAMS, VOCABULARY)).astype(np.float32)
        logits[:, CONFIGURATION.eos_id] = -30
        found = search.advance(scores_of(logits, search.top, is_normalised=True))
        if found.moves is None:
            continue
        followed = list(fed)
        for row, source, parted in zip(found.moves.rows, found.moves.sources, found.moves.parted, strict=True):
            moves += 1
            followed[row] = fed[source]
            assert source != row
            assert fed[row][:parted] == fed[source][:parted]
            assert fed[row] == fed[source] or fed[row][parted] != fed[source][parted]
        fed = followed

    assert moves > STEPS
