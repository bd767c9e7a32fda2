"""Texts that are nearly the same as others are found; texts of one topic are not."""

from slimseq.compression.compress.start.near_duplicates import near_duplicates


def test_a_text_with_other_numbers_case_and_punctuation_is_a_near_duplicate() -> None:
    texts = ["Please pay invoice no. 12 before Friday."]

    found = near_duplicates(texts, ["please pay invoice no. 4711, before Friday!"])

    assert found == {0}


def test_a_long_text_with_one_other_word_is_a_near_duplicate() -> None:
    text = "The council will meet on the first floor of the town hall at noon and everybody may come to listen."

    found = near_duplicates([text], [text.replace("noon", "midnight")])

    assert found == {0}


def test_texts_of_one_topic_are_no_near_duplicates() -> None:
    texts = ["The council will meet in the town hall on Monday.", "He bought two loaves of bread."]

    found = near_duplicates(texts, ["The council met in the school on Tuesday evening.", "She sold a loaf of bread."])

    assert found == set()


def test_short_texts_are_near_duplicates_only_if_their_words_are_equal() -> None:
    texts = ["Good morning.", "Thank you!"]

    found = near_duplicates(texts, ["good morning", "Thank him!"])

    assert found == {0}
