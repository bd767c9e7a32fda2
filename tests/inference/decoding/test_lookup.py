"""Prompt lookup: which drafts a search proposes, and what it keeps of them, on logits that are given."""

from collections.abc import Sequence

import numpy as np

from slimseq.inference.decoding.lookup import WIDTHS, Drafts, LookupSearch, Source
from slimseq.inference.decoding.search import StepScores, scores_of
from slimseq.models_store.generation import GenerationOptions
from tests.inference.decoding.configurations import EOS, plain_configuration

VOCABULARY = 40
FIRST, LAST = 5, 15
# Two tokens after the end of the source. Nothing is copied from there.
AFTER_END = [3, 4]
# Each token is one more than the one before, so that a test can name what follows.
SOURCE = [*range(FIRST, LAST + 1), EOS, *AFTER_END]
# A token that is not in the source.
OTHER = 30

CONFIGURATION = plain_configuration(VOCABULARY)


def search_with(count: int, options: GenerationOptions | None = None, source: Sequence[int] = SOURCE) -> LookupSearch:
    """Returns a search with so many streamed inputs, all with the same source."""
    search = LookupSearch(CONFIGURATION)
    options_of_rows = [options or GenerationOptions(max_new_tokens=30)] * count
    search.join(options_of_rows, [True] * count)
    search.read([source] * count, options_of_rows)
    return search


def choose(search: LookupSearch, tokens: Sequence[int]) -> None:
    """Takes a usual step in which each row's best token is the given one."""
    search.advance(scores_for(tokens))


def scores_for(best_tokens: Sequence[int]) -> StepScores:
    """Returns scores of rows, of which each has the given token as the best."""
    logits = np.eye(VOCABULARY, dtype=np.float32)[list(best_tokens)]
    # Greedy search needs only the best token of each row.
    return scores_of(logits, top=1)


def test_a_draft_is_what_follows_the_last_tokens_in_the_source_and_ends_before_the_end_token() -> None:
    source = Source([5, 6, 7, 8, 6, 9, EOS, 6, 4], EOS)
    tokens = (6, 7, 8, 6, OTHER, 9)

    drafts = []
    for token in tokens:
        source.follow([token])
        drafts.append((token, source.draft(3)))

    # 6 alone is looked up where it comes first, and 6 after 8 where both come.
    assert drafts == [(6, [7, 8, 6]), (7, [8, 6, 9]), (8, [6, 9]), (6, [9]), (OTHER, []), (9, [])]
    assert source.steps == len(tokens)


def test_an_input_that_copies_gets_longer_drafts_and_one_that_does_not_gets_none() -> None:
    # In a short source, nothing would be left for a longer draft.
    long_source = [*range(FIRST, OTHER), EOS]
    copies, others = search_with(1, source=long_source), search_with(1, source=long_source)

    widths = []
    for step in range(10):
        choose(copies, [FIRST + step])
        # Both tokens are in the source, but do not follow each other there.
        one, another = FIRST, FIRST + 2
        choose(others, [one if step % 2 == 0 else another])
        drafts = copies.drafts()
        widths.append(1 if drafts is None else drafts.tokens.shape[1])

    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert set(widths) <= set(WIDTHS.tolist())
    assert others.drafts() is None


def test_one_input_that_copies_does_not_slow_down_many_that_do_not() -> None:
    others = 7
    search = search_with(1 + others)

    for step in range(6):
        choose(search, [FIRST + step, *[OTHER] * others])

    assert search.drafts() is None


def search_with_drafts_of_different_lengths() -> tuple[LookupSearch, Drafts]:
    """Returns a search after six steps, and its drafts.

    The first input has copied 5 to 10, so that 11 to 15 are left. The second one has copied 9 to 14, so that only 15 is
    left.
    """
    search = search_with(2)
    for step in range(6):
        choose(search, [FIRST + step, LAST - 6 + step])
    drafts = search.drafts()
    assert drafts is not None
    return search, drafts


def test_a_shorter_draft_is_filled_up_with_copies_of_its_last_token() -> None:
    _, drafts = search_with_drafts_of_different_lengths()

    width = drafts.tokens.shape[1]
    assert drafts.lengths.tolist() == [min(5, width - 1), 1]
    # The start token and six tokens come before the place 7.
    assert (drafts.positions[1, 1:] == 7).all()
    assert (drafts.tokens[1, 1:] == LAST).all()


def test_drafts_of_different_lengths_are_verified_together_and_end_at_the_first_wrong_token() -> None:
    search, drafts = search_with_drafts_of_different_lengths()

    # The first input goes on copying for two tokens, the second one to the end of its draft of one token.
    best = np.full(drafts.tokens.shape, OTHER)
    best[0, :2] = [11, 12]
    best[1, :2] = [LAST, EOS]
    found = search.verify(drafts, scores_for(best.reshape(-1).tolist()))

    assert found.new_tokens == [(0, 11), (0, 12), (0, OTHER), (1, LAST), (1, EOS)]
    assert list(found.finished) == [1]
    assert found.finished[1].ids == [9, 10, 11, 12, 13, 14, 15, EOS]
    # Six usual steps and the run with drafts.
    assert found.finished[1].steps == 6 + 1
    assert search.positions().tolist() == [9, 8]
    assert search.next_tokens().tolist() == [OTHER, EOS]


def drafts_after_four_steps(options: GenerationOptions) -> Drafts | None:
    search = search_with(1, options)
    for step in range(4):
        choose(search, [FIRST + step])
    return search.drafts()


def test_a_draft_ends_where_the_output_must_end() -> None:
    drafts = drafts_after_four_steps(GenerationOptions(max_new_tokens=7))

    assert drafts is not None
    # Of the three tokens that are left, the last one follows the draft.
    assert drafts.lengths.tolist() == [2]


def test_without_speculation_there_are_no_drafts() -> None:
    assert drafts_after_four_steps(GenerationOptions().without_speculation()) is None
