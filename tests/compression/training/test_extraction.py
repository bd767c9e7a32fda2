from slimseq.compression.training.extraction import claim, extractive_summary, leading_sentences

DOCUMENT = (
    "London (CNN)The river rose by two metres on Monday. Nobody was hurt. "
    "Shops near the bridge stayed closed. The mayor will speak on Tuesday."
)


def test_sentences_that_overlap_the_summary_are_taken_in_their_order() -> None:
    summary = extractive_summary(DOCUMENT, "Shops near the bridge closed as the river rose on Monday.")

    assert summary == "The river rose by two metres on Monday. Shops near the bridge stayed closed."


def test_a_dateline_is_left_out() -> None:
    summary = extractive_summary(DOCUMENT, "The river rose by two metres.")

    assert summary == "The river rose by two metres on Monday."


def test_nothing_in_common_gives_nothing() -> None:
    assert extractive_summary(DOCUMENT, "xylophone quartet") is None


def test_a_lead_ends_with_the_sentence_that_makes_it_long_enough() -> None:
    assert leading_sentences(DOCUMENT, 8) == "The river rose by two metres on Monday."
    assert leading_sentences(DOCUMENT, 9) == "The river rose by two metres on Monday. Nobody was hurt."
    assert leading_sentences("", 9) is None


def test_a_claim_is_the_first_sentence_in_which_authors_say_what_they_do() -> None:
    abstract = "Networks are large. Here we carefully study small ones. We show that they are small."

    assert claim(abstract) == "Here we carefully study small ones."
    assert claim("Networks are large. This paper is short.") == "This paper is short."
    assert claim(DOCUMENT) is None
