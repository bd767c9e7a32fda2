"""Prompt lookup: which drafts a search proposes, and what it keeps of them, on logits that are given."""

from collections.abc import Sequence

import numpy as np

from slimseq.inference.decoding.lookup import WIDTHS, Drafts, LookupSearch, Source
from slimseq.inference.decoding.search import scores_of
from slimseq.inference.models.configuration import ModelConfiguration
from slimseq.models_store.generation import GenerationOptions

VOCABULARY, EOS, START = 40, 1, 2
# Two tokens after the end of the source. Nothing is copied from there.
AFTER_END = [3, 4]
SOURCE = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, EOS, *AFTER_END]

CONFIGURATION = ModelConfiguration(
    vocabulary=VOCABULARY,
    decoder_layers=1,
    pad_id=0,
    eos_id=EOS,
    decoder_start_id=START,
    forced_bos_id=None,
    forced_eos_id=None,
    max_positions=None,
)


def search_with(count: int, options: GenerationOptions | None = None) -> LookupSearch:
    """Returns a search with so many streamed inputs, all with the same source."""
    search = LookupSearch(CONFIGURATION)
    options_of_rows = [options or GenerationOptions(max_new_tokens=30)] * count
    search.join(options_of_rows, [True] * count)
    search.read([SOURCE] * count, options_of_rows)
    return search


def choose(search: LookupSearch, tokens: Sequence[int]) -> None:
    """Takes a usual step in which each row's best token is the given one."""
    search.advance(scores_of(np.eye(VOCABULARY, dtype=np.float32)[list(tokens)], 1))


def test_a_draft_is_what_follows_the_last_tokens_in_the_source_and_ends_before_the_end_token() -> None:
    source = Source([5, 6, 7, 8, 6, 9, EOS, 6, 4], EOS)

    drafts = []
    for token in (6, 7, 8, 6, 30, 9):
        source.follow([token])
        drafts.append((token, source.draft(3)))

    # 6 alone is looked up where it comes first, and 6 after 8 where both come. 30 is not in the source.
    assert drafts == [(6, [7, 8, 6]), (7, [8, 6, 9]), (8, [6, 9]), (6, [9]), (30, []), (9, [])]
    assert source.steps == 6


def test_an_input_that_copies_gets_longer_drafts_and_one_that_does_not_gets_none() -> None:
    copies, others = search_with(1), search_with(1)

    widths = []
    for step in range(5):
        choose(copies, [5 + step])
        # Both tokens are in the source, but do not follow each other there.
        one, another = 5, 7
        choose(others, [one if step % 2 == 0 else another])
        drafts = copies.drafts()
        widths.append(1 if drafts is None else drafts.tokens.shape[1])

    assert widths == sorted(widths)
    assert widths[-1] in WIDTHS
    assert others.drafts() is None


def test_one_input_that_copies_does_not_slow_down_many_that_do_not() -> None:
    search = search_with(8)

    for step in range(6):
        choose(search, [5 + step, *[30] * 7])

    assert search.drafts() is None


def test_drafts_of_different_lengths_are_verified_together_and_end_at_the_first_wrong_token() -> None:
    search = search_with(2)
    # After six steps the first input has copied 5 to 10, so that 11 to 15 are left. The second one has copied 9 to 14,
    # so that only 15 is left.
    for step in range(6):
        choose(search, [5 + step, 9 + step])
    drafts = search.drafts()
    assert drafts is not None

    # The first input goes on copying for two tokens, the second one to the end of its draft of one token.
    best = np.full(drafts.tokens.shape, 30)
    best[0, :2], best[1, :2] = [11, 12], [15, EOS]
    scores = scores_of(np.eye(VOCABULARY, dtype=np.float32)[best.reshape(-1)], 1)
    found = search.verify(drafts, scores)

    assert drafts.lengths.tolist() == [min(5, drafts.tokens.shape[1] - 1), 1]
    # A shorter draft is filled up with copies of its last token.
    assert (drafts.positions[1, 1:] == 7).all()
    assert (drafts.tokens[1, 1:] == 15).all()
    assert found.new_tokens == [(0, 11), (0, 12), (0, 30), (1, 15), (1, EOS)]
    assert list(found.finished) == [1]
    assert found.finished[1].ids == [9, 10, 11, 12, 13, 14, 15, EOS]
    assert found.finished[1].steps == 7
    assert search.positions().tolist() == [9, 8]
    assert search.next_tokens().tolist() == [30, EOS]


def drafts_after_four_steps(options: GenerationOptions) -> Drafts | None:
    search = search_with(1, options)
    for step in range(4):
        choose(search, [5 + step])
    return search.drafts()


def test_a_draft_ends_where_the_output_must_end() -> None:
    drafts = drafts_after_four_steps(GenerationOptions(max_new_tokens=7))

    assert drafts is not None
    # Of the three tokens that are left, the last one follows the draft.
    assert drafts.lengths.tolist() == [2]


def test_without_speculation_there_are_no_drafts() -> None:
    assert drafts_after_four_steps(GenerationOptions().without_speculation()) is None
